import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { dropCached } from './page-cache.ts';

const BYTES = 4 * 2 ** 20;
const WRITE = 4096;
const WRITES = 48;
const READ = 65_536;
/** Neither part takes much longer than this, however slow the disk is. */
const PART_MS = 300;

/** How long small things take on a file system, in milliseconds: medians. */
export interface Speed {
  /** A write of 4 KiB that waits until it is on the disk. */
  syncMs: number;
  /** A read of 64 KiB that is not in the page cache. */
  readMs: number;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Times of as many calls of `work` as fit, at least one. */
async function times(count: number, work: (index: number) => Promise<unknown>): Promise<number[]> {
  const found: number[] = [];
  const begun = performance.now();
  for (let index = 0; index < count; index += 1) {
    const start = performance.now();
    await work(index);
    const end = performance.now();
    found.push(end - start);
    if (end - begun > PART_MS) break;
  }
  return found;
}

async function measure(file: FileHandle): Promise<Speed> {
  const data = randomBytes(BYTES);
  await file.write(data, 0, BYTES, 0);
  await file.sync();
  const syncs = await times(WRITES, async (index) => {
    await file.write(data, 0, WRITE, index * WRITE);
    await file.sync();
  });
  await dropCached(file.fd);
  const into = Buffer.alloc(READ);
  // Backwards, so that nothing is read ahead.
  const count = BYTES / READ;
  const reads = await times(count, (index) => file.read(into, 0, READ, (count - 1 - index) * READ));
  return { syncMs: median(syncs), readMs: median(reads) };
}

/** Measures the file system at `folder` with a file of 4 MiB, for at most about a second. The file is gone afterwards. */
export async function speedOf(folder: string): Promise<Speed> {
  const path = join(folder, `.speed-${randomBytes(8).toString('hex')}`);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const file = await open(path, flags, 0o600);
  try {
    // Without a name nothing is left behind, whatever ends this.
    await unlink(path);
    return await measure(file);
  } finally {
    await file.close();
  }
}
