import type { Store } from '../store/store.ts';
import { Layer } from './layer.ts';
import { EVERYBODY, fragmentsOf, readStated, type Stated } from './stated-rows.ts';

/** Owners of whom it is kept that they have stated nothing. */
const EMPTY_MAX = 256;

/** What one owner has stated by command. */
interface Said {
  layer: Layer;
  /** Programs that were named. */
  paths: string[];
  isEmpty: boolean;
  /** It has changed since it was read. */
  stale: boolean;
}

const pathsOf = ({ fact, value }: Stated): string[] =>
  fact === 'executables' ? (value as string[]) : [];

/**
 * What people have stated by command, in memory. What was read before counts until the new is there, and only who has stated nothing is
 * forgotten: nobody is ever without what he or an administrator has stated.
 */
export class StatedFacts {
  readonly #store: Store;
  readonly #said = new Map<number, Said>();
  /** How often something was stated. */
  #changes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Reads what was stated for everybody and by this user, unless it is there already. */
  async load(uid: number): Promise<void> {
    await this.#load(EVERYBODY);
    await this.#load(uid);
  }

  /** What counts for this user, as far as it was read. */
  layers(uid: number): Layer[] {
    return [EVERYBODY, uid].flatMap((owner) => this.#said.get(owner)?.layer ?? []);
  }

  /** Programs that this owner has named. */
  paths(owner: number): readonly string[] {
    return this.#said.get(owner)?.paths ?? [];
  }

  /** Something was stated: it is read again when it is next needed. */
  changed(owner: number): void {
    this.#changes += 1;
    const said = this.#said.get(owner);
    if (said !== undefined) said.stale = true;
  }

  async #load(owner: number): Promise<void> {
    while (this.#said.get(owner)?.stale !== false) {
      const before = this.#changes;
      const stated = await readStated(this.#store, owner);
      this.#said.set(owner, {
        layer: new Layer(fragmentsOf(stated), []),
        paths: stated.flatMap(pathsOf),
        isEmpty: stated.length === 0,
        stale: before !== this.#changes,
      });
    }
    let left = this.#said.size - EMPTY_MAX;
    for (const [other, { isEmpty }] of this.#said) {
      if (left <= 0) break;
      left -= 1;
      if (isEmpty && other !== owner) this.#said.delete(other);
    }
  }
}
