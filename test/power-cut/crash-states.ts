import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { copyImage } from './recorded-disk.ts';
import type { LogEntry } from './write-log.ts';

/** The smallest piece that a disk writes wholly or not at all. */
const sectorBytes = 512;

/** What became of the writes that no flush had made durable when the power failed. */
export type Fate =
  /** The disk had kept all of them in its cache. */
  | 'lost'
  /** It had written all of them. */
  | 'kept'
  /** It had written some, in whatever order, single sectors of them too. */
  | 'some';

/** One moment at which the power fails. */
export interface Cut {
  /** Bytes of the log that had been written by then. */
  position: number;
  fate: Fate;
}

/** A source of numbers from 0 to 1 that a seed repeats (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The entries that are surely on the disk at the cut, and those that may be. */
export function divide(
  entries: readonly LogEntry[],
  position: number,
): { durable: LogEntry[]; open: LogEntry[] } {
  const past = entries.filter(({ end }) => end <= position);
  const flushed = past.findLastIndex(({ kind }) => kind === 'flush') + 1;
  return { durable: past.slice(0, flushed), open: past.slice(flushed) };
}

/** A piece of a write: where it goes on the disk, and where it stands in the log. */
export interface Piece {
  offset: number;
  at: number;
  length: number;
}

/** The pieces of the open writes that reach the disk, in the order of the log; what is written to `whole` is not torn. */
export function survivors(
  open: readonly LogEntry[],
  fate: Fate,
  random: () => number,
  whole: readonly number[] = [],
): Piece[] {
  if (fate === 'lost') return [];
  if (fate === 'kept') return [...open];
  // Some states lose nearly everything, some nearly nothing.
  const share = random();
  const pieces: Piece[] = [];
  for (const { offset, at, length } of open) {
    const torn = random() < 0.25 && !whole.some((one) => offset <= one && one < offset + length);
    if (!torn) {
      if (random() < share) pieces.push({ offset, at, length });
      continue;
    }
    for (let done = 0; done < length; done += sectorBytes) {
      const piece = Math.min(sectorBytes, length - done);
      if (random() < share) pieces.push({ offset: offset + done, at: at + done, length: piece });
    }
  }
  return pieces;
}

/** Makes the images of one recording, cut by cut; cuts come in the order of their positions. */
export class StateBuilder {
  readonly #disk: string;
  readonly #log: string;
  readonly #entries: readonly LogEntry[];
  readonly #whole: readonly number[];
  #applied = 0;

  /** `disk` is a copy of the blank image, which this builder advances. */
  constructor(
    disk: string,
    log: string,
    entries: readonly LogEntry[],
    whole: readonly number[] = [],
  ) {
    this.#disk = disk;
    this.#log = log;
    this.#entries = entries;
    this.#whole = whole;
  }

  /** Writes the image as the power cut leaves it to `target`. */
  build({ position, fate }: Cut, target: string, random: () => number): void {
    const { durable, open } = divide(this.#entries, position);
    if (durable.length < this.#applied) throw new Error('cuts must come in order');
    this.#write(this.#disk, durable.slice(this.#applied));
    this.#applied = durable.length;
    copyImage(this.#disk, target);
    this.#write(target, survivors(open, fate, random, this.#whole));
  }

  #write(image: string, pieces: readonly Piece[]): void {
    const from = openSync(this.#log, 'r');
    const to = openSync(image, 'r+');
    try {
      for (const { offset, at, length } of pieces) {
        const data = Buffer.alloc(length);
        readSync(from, data, 0, length, at);
        writeSync(to, data, 0, length, offset);
      }
    } finally {
      closeSync(from);
      closeSync(to);
    }
  }
}
