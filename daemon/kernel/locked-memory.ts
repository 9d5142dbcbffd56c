import { inspect } from 'node:util';
import { KernelError } from './errno.ts';
import { addressOf, declare, declareInt, memoryAt } from './libc.ts';

// Numbers of linux/mman.h.
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MADV_DONTDUMP = 16;
const MADV_WIPEONFORK = 18;

/** One place holds one key or passphrase. */
export const lockedBytesMax = 4096;
/** More are never in use at one time: each belongs to a ticket or a change, and those are few. */
const PLACES = 64;

const mmap = declare('mmap', ['u64', 'u64', 'int', 'int', 'int', 'i64']);
const mlock = declareInt('mlock', ['bytes', 'u64']);
const madvise = declareInt('madvise', ['bytes', 'u64', 'int']);

interface Arena {
  memory: Buffer;
  /** Why it may reach the swap, or undefined. */
  problem: string | undefined;
}

let arena: Arena | undefined;
const free = Array.from({ length: PLACES }, (_, place) => place);

/** Mapped once and never given back: a view of memory that is not there any more would be a crash. */
function theArena(): Arena {
  if (arena !== undefined) return arena;
  const bytes = PLACES * lockedBytesMax;
  const memory = memoryAt(mmap(0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0), bytes);
  let problem: string | undefined;
  for (const apply of [
    () => mlock(memory, bytes),
    () => madvise(memory, bytes, MADV_DONTDUMP),
    () => madvise(memory, bytes, MADV_WIPEONFORK),
  ])
    try {
      apply();
    } catch (error) {
      problem ??= (error as Error).message;
    }
  arena = { memory, problem };
  return arena;
}

/** Why keys may reach the swap or a core dump on this machine; undefined when they cannot. */
export function lockedMemoryProblem(): string | undefined {
  return theArena().problem;
}

/** How many places hold something; a test of leaks looks at it. */
export function lockedPlacesInUse(): number {
  return PLACES - free.length;
}

/**
 * A few bytes that are never swapped, dumped or copied into a child, and that are zeros again after `wipe`. They lie outside of the
 * heap of JavaScript, so that nothing moves or copies them by itself; a copy that a caller makes is the caller's to wipe.
 */
export class LockedBytes {
  readonly length: number;
  #place: number;

  /** Throws KernelError ENOMEM when all places are taken. */
  constructor(length: number) {
    if (length > lockedBytesMax) throw new RangeError(`at most ${lockedBytesMax} bytes`);
    theArena();
    const place = free.pop();
    if (place === undefined) throw new KernelError('mlock', 'ENOMEM', 'all places are taken');
    this.#place = place;
    this.length = length;
  }

  /** The bytes themselves, not a copy. Throws after `wipe`. */
  bytes(): Buffer {
    if (this.#place < 0) throw new Error('internal error: these bytes are wiped');
    const at = this.#place * lockedBytesMax;
    return theArena().memory.subarray(at, at + this.length);
  }

  get wiped(): boolean {
    return this.#place < 0;
  }

  /** Overwrites them with zeros and gives the place back. Safe to repeat. */
  wipe(): void {
    if (this.#place < 0) return;
    const at = this.#place * lockedBytesMax;
    theArena().memory.fill(0, at, at + lockedBytesMax);
    free.push(this.#place);
    this.#place = -1;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toJSON(): never {
    throw new TypeError('a secret cannot be written down');
  }

  toString(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

/** Where the bytes are, for a test that reads them through the kernel. */
export function addressOfLocked(bytes: LockedBytes): bigint {
  return addressOf(bytes.bytes());
}
