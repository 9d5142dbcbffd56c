import { constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import type { Hierarchy } from './cgroups.ts';
import { failedWith, KernelError } from './errno.ts';
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

/** An open file of a group that has gone. */
const hasGone = (error: unknown): boolean => failedWith(error, 'ENODEV', 'ENOENT');

/** The open files of one group. */
interface Stop {
  words: (typeof WORDS)[1 | 2];
  control: Fd;
  state: Fd;
}

/** Control groups whose processes can be stopped all at once, for moments. One that has gone stands still. */
export class Freezer {
  readonly #stops: readonly Stop[];

  /**
   * @param versions of the groups; @param files two of each, `control` and `state`, open for good: who holds them may stop these groups
   * and no other.
   */
  constructor(versions: readonly (1 | 2)[], files: readonly Fd[]) {
    if (files.length !== 2 * versions.length) throw new Error('not two files of each group');
    this.#stops = versions.map((version, index) => ({
      words: WORDS[version],
      control: files[2 * index]!,
      state: files[2 * index + 1]!,
    }));
  }

  /** Opens the files of those groups that are there, for this process or for a child. */
  static open(groups: readonly FreezeFiles[]): { versions: (1 | 2)[]; files: Fd[] } {
    const versions: (1 | 2)[] = [];
    const files: Fd[] = [];
    const open = (path: string, how: number) => files.push(new Fd(openSync(path, how), path));
    for (const { version, control, state } of groups) {
      try {
        open(control, constants.O_WRONLY);
        open(state, constants.O_RDONLY);
        versions.push(version);
      } catch (error) {
        for (const one of files.splice(2 * versions.length)) one.close();
        if (hasGone(error)) continue;
        for (const one of files) one.close();
        throw error;
      }
    }
    return { versions, files };
  }

  /** Returns when every process of all groups stands still. Throws ETIMEDOUT, with all of them going on, when one does not in this time. */
  freeze(withinMs: number): void {
    const until = performance.now() + withinMs;
    try {
      for (const stop of this.#stops) write(stop.control, stop.words.stop);
      for (const stop of this.#stops)
        while (!isStill(stop)) {
          if (performance.now() > until)
            throw new KernelError('freeze', 'ETIMEDOUT', stop.control.what);
          Atomics.wait(sleeper, 0, 0, LOOK_MS);
        }
    } catch (error) {
      this.thaw();
      throw error;
    }
  }

  /** Lets all of them go on. Safe to repeat. */
  thaw(): void {
    for (const { control, words } of this.#stops) write(control, words.go);
  }

  close(): void {
    for (const { control, state } of this.#stops) {
      control.close();
      state.close();
    }
  }
}

function write(control: Fd, word: string): void {
  try {
    writeSync(control.number, word, 0, 'latin1');
  } catch (error) {
    if (!hasGone(error)) throw error;
  }
}

function isStill({ state, words }: Stop): boolean {
  const text = Buffer.alloc(256);
  try {
    return words.stopped.test(
      text.toString('latin1', 0, readSync(state.number, text, 0, text.length, 0)),
    );
  } catch (error) {
    if (hasGone(error)) return true;
    throw error;
  }
}

/** The group stands still by its own file, or is about to. */
export function isStopped({ version, control }: FreezeFiles): boolean {
  try {
    return readFileSync(control, 'latin1').trim() !== WORDS[version].go;
  } catch (error) {
    if (hasGone(error)) return false;
    throw error;
  }
}

/** Lets groups go on that somebody stopped who is not there any more. */
export function letGo(groups: readonly FreezeFiles[]): void {
  const { versions, files } = Freezer.open(groups);
  const freezer = new Freezer(versions, files);
  try {
    freezer.thaw();
  } finally {
    freezer.close();
  }
}
