import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { declare, declareInt } from './libc.ts';

/** M_ARENA_MAX of malloc.h. */
const ARENA_MAX = -8;
/** One arena for the loop and one for all pool threads: each would otherwise keep its own high-water mark. */
const ARENAS = 2;

const mallopt = declareInt('mallopt', ['int', 'int']);
const mallocTrim = declare('malloc_trim', ['u64']);

/** Keeps the C library from giving every pool thread a heap of its own. Call before the pool starts. */
export function keepHeapsFew(): void {
  mallopt(ARENA_MAX, ARENAS);
}

/** What an idle daemon may keep. */
const residentBytesMax = 90e6;

let collect: ((options: object) => void) | undefined;

/**
 * Gives memory that is not needed any more back to the machine: collects, then trims the C heap.
 * Stops the process for some 20 ms, so it is for quiet moments. Returns the resident bytes after it.
 */
export function returnMemory(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as typeof collect;
  }
  collect?.({ type: 'major', execution: 'sync' });
  mallocTrim(0);
  // The kind that also shrinks the space for young objects, which many short calls have grown. It gives up compiled
  // code too, so that the next calls are slower: only where the other kind was not enough.
  if (process.memoryUsage.rss() > residentBytesMax) {
    collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    mallocTrim(0);
  }
  return process.memoryUsage.rss();
}
