import type { Store } from '../store/store.ts';
import { Layer } from './layer.ts';
import { fragmentsOf, type Needs, needsWith, noNeeds } from './needs.ts';
import { needsLimits, readNeeds, writeNeeds } from './needs-rows.ts';
import type { RunFigures } from './run-figures.ts';

/** Users whose measurements are kept in memory. */
const OWNERS_MAX = 64;

/** What was measured of an owner's applications. */
interface Measured {
  needs: Map<string, Needs>;
  layer: Layer | undefined;
}

/** What was measured of applications, user by user: what one has run says nothing to another. */
export class MeasuredNeeds {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #owners = new Map<number, Promise<Measured>>();
  readonly #read = new Map<number, Measured>();

  constructor(store: Store, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** Reads what was measured of this owner's applications, unless it is there already. */
  load(owner: number): Promise<Measured> {
    const known = this.#owners.get(owner);
    if (known !== undefined) return known;
    for (const oldest of this.#owners.keys()) {
      if (this.#owners.size < OWNERS_MAX) break;
      this.#owners.delete(oldest);
      this.#read.delete(oldest);
    }
    const reading = readNeeds(this.#store, owner).then((needs) => {
      const measured = { needs, layer: undefined };
      if (this.#owners.get(owner) === reading) this.#read.set(owner, measured);
      return measured;
    });
    this.#owners.set(owner, reading);
    // Who asks next tries again.
    reading.catch(() => this.#owners.delete(owner));
    return reading;
  }

  /** What counts for this owner, as far as it was read. */
  layer(owner: number): Layer | undefined {
    const measured = this.#read.get(owner);
    if (measured === undefined || measured.needs.size === 0) return undefined;
    measured.layer ??= new Layer(
      [...measured.needs].flatMap(([app, needs]) => fragmentsOf(app, needs)),
      [],
    );
    return measured.layer;
  }

  /** Adds a run, or what a run that goes on has come to by now. Resolves when it is written. */
  async learn(owner: number, app: string, run: RunFigures & { sinceMs: number }): Promise<void> {
    const measured = await this.load(owner);
    const needs = needsWith(measured.needs.get(app) ?? noNeeds, run, this.#now());
    // The newest is the last.
    measured.needs.delete(app);
    measured.needs.set(app, needs);
    for (const oldest of measured.needs.keys()) {
      if (measured.needs.size <= needsLimits.perOwnerMax) break;
      measured.needs.delete(oldest);
    }
    measured.layer = undefined;
    await writeNeeds(this.#store, owner, app, needs);
  }
}
