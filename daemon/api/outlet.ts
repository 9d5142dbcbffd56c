import { PassThrough, type Readable } from 'node:stream';
import { PersonaError } from '../../ipc/errors.ts';

/** How far a writer may run ahead of the one who fetches. */
const aheadBytes = 1024 * 1024;

/** What a running change writes for the one who holds the ticket of it. Moves as fast as the slower of the two. */
export class Outlet {
  readonly #pipe = new PassThrough({ highWaterMark: aheadBytes });
  #written = false;

  constructor() {
    // Whoever writes hears of it; on its own it must not end the process.
    this.#pipe.on('error', () => undefined);
  }

  /** For the one who fetches. */
  get source(): Readable {
    return this.#pipe;
  }

  /** Resolves when more may be written. Throws `connection-lost` when nobody fetches it any more. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#pipe.destroyed) throw new PersonaError('connection-lost');
    this.#written = true;
    if (this.#pipe.write(bytes)) return;
    await this.#next('drain');
    if (this.#pipe.destroyed) throw new PersonaError('connection-lost');
  }

  /** Everything was written. Resolves when the one who fetches has taken it; throws `connection-lost`. */
  async end(): Promise<void> {
    const ended = this.#next('close');
    this.#pipe.end();
    await ended;
    if (!this.#pipe.readableEnded) throw new PersonaError('connection-lost');
  }

  /** Resolves at this event, or when the pipe is closed, however it came to that. */
  #next(event: 'drain' | 'close'): Promise<void> {
    return new Promise((resolve) => {
      if (this.#pipe.closed) return resolve();
      const heard = (): void => {
        this.#pipe.off(event, heard);
        this.#pipe.off('close', heard);
        resolve();
      };
      this.#pipe.on(event, heard);
      if (event !== 'close') this.#pipe.on('close', heard);
    });
  }

  /** True once something was written. */
  get written(): boolean {
    return this.#written;
  }

  /** True once nothing can be written any more. */
  get closed(): boolean {
    return this.#pipe.destroyed;
  }

  /** Ends it early: what was fetched is not all. */
  close(): void {
    this.#pipe.destroy();
  }
}
