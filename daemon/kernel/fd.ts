import { closeSync } from 'node:fs';
import { declareInt } from './libc.ts';

const close = declareInt('close', ['int']);

let open = 0;

/** How many descriptors the verbs have handed out and not yet seen closed. */
export function openFds(): number {
  return open;
}

/**
 * An open file descriptor with one owner. Rooms hold and pass these; only kernel files look at the number.
 * Closing twice is allowed and does nothing: a release may be reached by two ways.
 */
export class Fd {
  #number: number;
  readonly what: string;

  /** @param number a descriptor just opened with close-on-exec; @param what for messages. */
  constructor(number: number, what: string) {
    this.#number = number;
    this.what = what;
    open += 1;
  }

  /** The descriptor's number, for kernel verbs and `stdio` of children. Throws after closing. */
  get number(): number {
    if (this.#number < 0) throw new Error(`internal error: ${this.what} is closed already`);
    return this.#number;
  }

  get closed(): boolean {
    return this.#number < 0;
  }

  /** Its name for system calls that take a path. */
  get path(): string {
    return `/proc/self/fd/${this.number}`;
  }

  #take(): number {
    const number = this.#number;
    this.#number = -1;
    if (number >= 0) open -= 1;
    return number;
  }

  /** Gives the number to a new owner, who closes it. */
  release(): number {
    return this.#take();
  }

  /** Closes now. For descriptors whose closing cannot block. */
  close(): void {
    const number = this.#take();
    if (number >= 0) closeSync(number);
  }

  /** Closes in the thread pool: the last descriptor of a detached mount syncs its file system there. */
  async closeLater(): Promise<void> {
    const number = this.#take();
    if (number >= 0) await close.later(number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
