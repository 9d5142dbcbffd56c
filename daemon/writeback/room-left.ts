import { formatSize } from '../../ipc/values.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';

/** Less than this share of it is little. It is looked at once a second, and what is left then is to last until it has more. */
const LITTLE = 1 / 4;
/** More is never put into memory for one application. */
export const BYTES_MAX = 8 * 2 ** 30;
/** Who was refused asks again after this time. */
const AGAIN_MS = 30_000;

/** How little is left of the memory of an application, at `folder`, in words; undefined while it is enough. */
export function shortageOf(folder: string): string | undefined {
  const { availableBytes, totalBytes, inodesFree, inodesTotal } = localSpaceOf(folder);
  const left =
    availableBytes < totalBytes * LITTLE
      ? `${formatSize(availableBytes)} of ${formatSize(totalBytes)}`
      : inodesFree < inodesTotal * LITTLE
        ? `${inodesFree} of ${inodesTotal} files`
        : undefined;
  return left && `only ${left} of its memory are left`;
}

/** Sees to it that an application in memory has room there, as far as that is granted. */
export class RoomLeft {
  readonly #grow: (bytes: number) => Promise<void>;
  readonly #elapsedMs: () => number;
  #isGrowing = false;
  #refused: { why: string; atMs: number } | undefined;

  /** @param grow gives its memory this size; @param elapsedMs a clock that is never set. */
  constructor(grow: (bytes: number) => Promise<void>, elapsedMs: () => number) {
    this.#grow = grow;
    this.#elapsedMs = elapsedMs;
  }

  /** Where little is left at `folder` it gets twice as much, one time after the other. Never throws: `told` says why it could not be. */
  async keep(folder: string): Promise<void> {
    const { atMs = Number.NEGATIVE_INFINITY } = this.#refused ?? {};
    if (this.#isGrowing || this.#elapsedMs() - atMs < AGAIN_MS) return;
    this.#isGrowing = true;
    try {
      if (shortageOf(folder) !== undefined) await this.#double(folder);
      this.#refused = undefined;
    } catch (error) {
      const why = String((error as Error)?.message ?? error);
      this.#refused = { why, atMs: this.#elapsedMs() };
    } finally {
      this.#isGrowing = false;
    }
  }

  async #double(folder: string): Promise<void> {
    const { totalBytes } = localSpaceOf(folder);
    const bytes = Math.min(2 * totalBytes, BYTES_MAX);
    if (bytes <= totalBytes)
      throw new Error(`no application has more than ${formatSize(BYTES_MAX)} in memory`);
    await this.#grow(bytes);
  }

  /** What to say of an application that has little room at `folder`, and was refused more. */
  told(folder: string): string | undefined {
    const shortage = this.#refused && shortageOf(folder);
    return (
      shortage &&
      `${shortage}, and it could not be given more: ${this.#refused?.why}; when nothing is left it is told that its disk is full`
    );
  }
}
