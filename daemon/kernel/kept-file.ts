import { closeSync, openSync, readSync } from 'node:fs';

/**
 * The head of a small file of the kernel that is read again and again. It stays open: opening, asking for the size and
 * closing cost more than reading.
 */
export class KeptFile {
  readonly #fd: number;
  readonly #head: Buffer;

  /** Throws when there is no such file. @param bytes how much of it is read */
  constructor(path: string, bytes: number) {
    this.#fd = openSync(path, 'r');
    this.#head = Buffer.alloc(bytes);
  }

  /** What its head says now. */
  read(): string {
    const bytes = readSync(this.#fd, this.#head, 0, this.#head.length, 0);
    return this.#head.toString('latin1', 0, bytes);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
