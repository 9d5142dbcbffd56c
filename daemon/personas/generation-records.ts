import { existsSync } from 'node:fs';
import { writeRecord } from '../kernel/records.ts';
import type { SlotBook } from './slot-book.ts';
import type { SlotLog } from './slot-room.ts';
import type { Generation } from './slot-rows.ts';
import type { Uppers } from './uppers.ts';

/** Kind of the records that stand in `slots/NAME/generations`. */
export const GENERATION_RECORD = 'generation';

/** Records wait for so long without a swap: their flushes would stand in its way. */
const QUIET_MS = 500;

export interface RecordParts {
  /** The folder `slots` of the state tree. */
  state: string;
  book: SlotBook;
  uppers: Uppers;
  log: SlotLog;
}

/**
 * Writes what each generation was beside its slot, and what each upper belongs to beside the upper: enough to bring a slot back by
 * hand when the database is lost (SECURITY 7). The rows are the truth; records follow when it is quiet, and a start fills gaps.
 */
export class GenerationRecords {
  #parts: RecordParts;
  #waiting = new Map<string, Generation>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(parts: RecordParts) {
    this.#parts = parts;
  }

  #path({ slot, number }: Generation): string {
    return `${this.#parts.state}/${slot}/generations/${number}.json`;
  }

  /** Writes the record soon. */
  put(generation: Generation): void {
    this.#waiting.set(this.#path(generation), generation);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), QUIET_MS);
    this.#timer.unref();
  }

  /** Puts every generation that has no record yet. */
  fill(slot: string): void {
    for (const generation of this.#parts.book.generations(slot)) {
      if (generation.state !== 'trial' && !existsSync(this.#path(generation))) this.put(generation);
    }
  }

  /** Forgets what waits for a slot that is being removed, after what is being written. */
  async forget(slot: string): Promise<void> {
    for (const [path, generation] of this.#waiting) {
      if (generation.slot === slot) this.#waiting.delete(path);
    }
    await this.#writing;
  }

  /** Writes what waits, now. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#writing = this.#writing.then(() => this.#writeAll());
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    const { book, uppers, log } = this.#parts;
    for (const [path, generation] of this.#waiting) {
      this.#waiting.delete(path);
      try {
        await writeRecord(path, GENERATION_RECORD, { ...generation });
        const known = book.knowsUpper(generation.upper);
        const upper = known ? book.upper(generation.upper) : undefined;
        if (upper !== undefined && upper.state !== 'gone') {
          await uppers.describe(upper, generation.number);
        }
      } catch (error) {
        log.warn({ err: error, path }, 'cannot write the record of a generation');
      }
    }
  }
}
