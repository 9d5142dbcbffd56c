import type { Hash } from 'node:crypto';
import { write } from 'node:fs';
import { promisify } from 'node:util';

const writeAsync = promisify(write);
const bufferBytes = 4 * 1024 * 1024;

/**
 * Sequential output into a regular file: two large buffers, one filled while the other is written.
 * Callers reserve room, write into `buffer` at `used`, and advance.
 */
export class ImageSink {
  buffer: Buffer = Buffer.allocUnsafe(bufferBytes);
  /** Bytes of `buffer` in use. */
  used = 0;
  /** When set, everything flushed from now on goes into it too. */
  hash: Hash | undefined = undefined;
  private spare: Buffer = Buffer.allocUnsafe(bufferBytes);
  private flushed: number;
  private pending: Promise<void> = Promise.resolve();
  private readonly fd: number;

  /** Starts at `position` of the file `fd`. */
  constructor(fd: number, position: number) {
    this.fd = fd;
    this.flushed = position;
  }

  /** The position in the file of the next byte. */
  get position(): number {
    return this.flushed + this.used;
  }

  /** Bytes that fit without flushing. */
  get free(): number {
    return this.buffer.length - this.used;
  }

  /** Makes at least `bytes` contiguous bytes free. */
  async room(bytes: number): Promise<void> {
    if (this.free >= bytes) return;
    await this.flush();
    if (this.buffer.length < bytes) this.buffer = Buffer.allocUnsafe(bytes);
  }

  /** Writes zeros up to the next multiple of `unit` (at most the buffer's size). */
  async pad(unit: number): Promise<void> {
    const rest = this.position % unit;
    if (rest === 0) return;
    await this.room(unit - rest);
    this.buffer.fill(0, this.used, this.used + unit - rest);
    this.used += unit - rest;
  }

  /** Appends `bytes` of any length. */
  async append(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.free === 0) await this.flush();
      const copied = bytes.copy(this.buffer, this.used, at);
      this.used += copied;
      at += copied;
    }
  }

  /** Hands the buffer to the writer; returns once the other one may be filled. */
  async flush(): Promise<void> {
    await this.pending;
    if (this.used === 0) return;
    const full = this.buffer.subarray(0, this.used);
    this.hash?.update(full);
    this.pending = writeAll(this.fd, full, this.flushed);
    // The error surfaces at the next await of `pending`; until then it is not unhandled.
    this.pending.catch(() => {});
    this.flushed += this.used;
    const next = this.spare;
    this.spare = this.buffer;
    this.buffer = next;
    this.used = 0;
  }

  /** Writes everything out. It is in the file, but not yet durable, when this returns. */
  async end(): Promise<void> {
    await this.flush();
    await this.pending;
  }
}

/** Writes all of `bytes` at `position`. */
export async function writeAll(fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await writeAsync(fd, bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}
