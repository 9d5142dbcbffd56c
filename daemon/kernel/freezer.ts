import { constants, openSync, readSync, writeSync } from 'node:fs';
import type { Hierarchy } from './cgroups.ts';
import { KernelError } from './errno.ts';
import { Fd } from './fd.ts';

/** Files of a control group by which it is stopped and goes on: `cgroup.freeze` and `cgroup.events`, or `freezer.state` twice. */
export interface FreezeFiles {
  version: 1 | 2;
  control: string;
  state: string;
}

/** The hierarchy whose groups can be stopped: the unified one, or that of the freezer; undefined where there is neither. Pure. */
export const freezableIn = (hierarchies: readonly Hierarchy[]): Hierarchy | undefined =>
  hierarchies.find(({ version }) => version === 2) ??
  hierarchies.find(({ controllers }) => controllers.includes('freezer'));

/** The files of this group. */
export const freezeFilesOf = (version: 1 | 2, group: string): FreezeFiles =>
  version === 2
    ? { version, control: `${group}/cgroup.freeze`, state: `${group}/cgroup.events` }
    : { version, control: `${group}/freezer.state`, state: `${group}/freezer.state` };

const WORDS = {
  1: { stop: 'FROZEN', go: 'THAWED', stopped: /^FROZEN/ },
  2: { stop: '1', go: '0', stopped: /^frozen 1$/m },
} as const;
const LOOK_MS = 0.2;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** How long a program may stand still. */
export const FROZEN_MS_MAX = 200;

/** A control group whose processes can be stopped all at once, for moments. */
export class Freezer {
  readonly #words: (typeof WORDS)[1 | 2];
  readonly #control: Fd;
  readonly #state: Fd;

  /** @param control @param state open descriptors, for good: who holds them may freeze this group and no other. */
  constructor(version: 1 | 2, control: Fd, state: Fd) {
    this.#words = WORDS[version];
    this.#control = control;
    this.#state = state;
  }

  /** Opens the files of a group, for this process or for a child. */
  static files({ control, state }: FreezeFiles): [control: Fd, state: Fd] {
    const first = new Fd(openSync(control, constants.O_WRONLY), control);
    try {
      return [first, new Fd(openSync(state, constants.O_RDONLY), state)];
    } catch (error) {
      first.close();
      throw error;
    }
  }

  /** Returns when every process of the group stands still. Throws ETIMEDOUT, with the group going on, when one does not in this time. */
  freeze(withinMs: number): void {
    const until = performance.now() + withinMs;
    this.#write(this.#words.stop);
    while (!this.#words.stopped.test(this.#read())) {
      if (performance.now() > until) {
        this.thaw();
        throw new KernelError('freeze', 'ETIMEDOUT', this.#control.what);
      }
      Atomics.wait(sleeper, 0, 0, LOOK_MS);
    }
  }

  /** Lets the group go on. Safe to repeat. */
  thaw(): void {
    this.#write(this.#words.go);
  }

  #write(word: string): void {
    writeSync(this.#control.number, word, 0, 'latin1');
  }

  #read(): string {
    const text = Buffer.alloc(256);
    return text.toString('latin1', 0, readSync(this.#state.number, text, 0, text.length, 0));
  }

  close(): void {
    this.#control.close();
    this.#state.close();
  }
}
