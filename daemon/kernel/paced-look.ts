import { setImmediate as turn } from 'node:timers/promises';
import { KernelError } from './errno.ts';
import { readProcLines } from './proc-text.ts';

/** How long a look may hold the event loop. */
const SLICE_MS = 5;
/** Looked at together: while the text of one is read in the thread pool, another one's links are followed. */
const TOGETHER = 4;

/** A look at many processes, which holds up nothing else and ends: what was not read by then could not be told. */
export class PacedLook {
  #sliceEnd = performance.now() + SLICE_MS;
  #isOver = false;
  readonly #late = Promise.withResolvers<never>();
  readonly #timer: NodeJS.Timeout;

  constructor(mostMs: number) {
    this.#late.promise.catch(() => undefined);
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#late.reject(new KernelError('look at processes', 'ETIMEDOUT'));
    }, mostMs);
  }

  /** Gives way to other work when it is time. */
  async breathe(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    await turn();
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  /** Throws ETIMEDOUT when the time is over. */
  async throwIfOver(): Promise<void> {
    if (this.#isOver) await this.#late.promise;
  }

  /** Looks at all of them, in no order. */
  async each<T>(all: readonly T[], look: (one: T) => Promise<void>): Promise<void> {
    const rest = all.values();
    const some = async () => {
      for (const one of rest) {
        await this.breathe();
        await look(one);
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, some));
  }

  /** As `readProcLines`; throws ETIMEDOUT when the time is over, also for what is just being read. */
  async lines(path: string, bytesMax: number, take: (lines: string) => boolean): Promise<void> {
    await this.throwIfOver();
    const isEnough = (lines: string) => this.#isOver || take(lines);
    await Promise.race([readProcLines(path, bytesMax, isEnough), this.#late.promise]);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}
