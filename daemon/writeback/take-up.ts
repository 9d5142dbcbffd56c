import type { Fd } from '../kernel/fd.ts';
import { digestOfContent } from '../kernel/file-copy.ts';
import { OPEN, openBeneath } from '../kernel/openat.ts';
import type { Base, Now } from './delta.ts';
import { type Filled, markOf, visit } from './fill.ts';
import { isGone, type MemoryFolder } from './memory-folder.ts';

const READ = OPEN.read | OPEN.nonBlocking;

/** What a file is known by that a program may be writing or removing; undefined: nothing says what it is. */
function markAt(folder: Fd, path: string): string | undefined {
  try {
    using file = openBeneath(folder, path, { flags: READ, sameMount: true });
    return markOf(file, digestOfContent(file));
  } catch (error) {
    if (!isGone(error)) throw error;
    return undefined;
  }
}

/**
 * Finds out which files in memory are what they were filled with. What others have done on the disk since then is seen against `base` when a
 * generation is brought there, as if one writer had been there all the time.
 */
export function compareMemory(base: Map<string, Base>, memory: MemoryFolder): Filled {
  const filled: Filled = { base, files: 0, bytes: 0, skipped: 0 };
  memory.scan(false);
  memory.doubtAll();
  const marks = new Map<string, string>();
  for (const { copy, mark } of base.values())
    if (copy !== undefined && mark !== undefined) marks.set(copy, mark);
  for (const [path, { inode }] of memory.now) {
    const mark = marks.get(inode);
    if (mark === undefined) continue;
    marks.delete(inode);
    if (markAt(memory.root, path) !== mark) memory.changed.add(inode);
    filled.files += 1;
  }
  memory.moved = true;
  return filled;
}

const isAlike = (base: Base, now: Now | undefined): boolean =>
  base.type === 'file'
    ? base.copy !== undefined
    : base.type === now?.type && base.target === now.target;

/**
 * The same where nothing tells what memory was filled with. Only what memory has just as the disk has it counts as known: nothing else is
 * removed from the disk, and what is in the way there is put aside.
 */
export function compareWithDisk(disk: Fd, memory: MemoryFolder): Filled {
  const filled: Filled = { base: new Map(), files: 0, bytes: 0, skipped: 0 };
  memory.scan(false);
  memory.doubtAll();
  visit(disk, '', filled, (_, path, base) => {
    const now = memory.now.get(path);
    if (base.type !== 'file' || now?.type !== 'file') return;
    const mark = markAt(memory.root, path);
    if (mark !== undefined && mark === markAt(disk, path)) base.copy = now.inode;
    filled.files += 1;
    filled.bytes += base.size;
  });
  for (const [path, base] of filled.base)
    if (!isAlike(base, memory.now.get(path))) filled.base.delete(path);
  memory.moved = true;
  return filled;
}
