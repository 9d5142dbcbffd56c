import { ftruncateSync, write } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withDetail } from './errno.ts';
import type { Fd } from './fd.ts';
import { setChangeTime } from './file-times.ts';
import { declareInt } from './libc.ts';
import { cBytes, linkIn, makeFolderIn, OPEN, openBeneath, symlinkIn } from './openat.ts';
import type { WalkedItem } from './tree-walk.ts';
import type { Walked } from './walked.ts';
import { writeXattr } from './xattrs.ts';

const mknodat = declareInt('mknodat', ['int', 'bytes', 'uint', 'u64']);
const fchownat = declareInt('fchownat', ['int', 'bytes', 'uint', 'uint', 'int']);
const fchmodat = declareInt('fchmodat', ['int', 'bytes', 'uint', 'int']);

/** include/uapi/linux/fcntl.h, include/uapi/linux/stat.h. */
const AT_SYMLINK_NOFOLLOW = 0x100;
const NODE_TYPES = { char: 0o020000, block: 0o060000, fifo: 0o010000, socket: 0o140000 } as const;
/** How long one slice of writing names may hold the event loop. */
const SLICE_MS = 5;

const writeBytes = promisify(write);

/** An open folder that is being filled: it gets its owner, mode and times when it is left. */
interface Open {
  entry: Walked;
  folder: Fd;
}

/**
 * Makes the tree of `items` (in path order, the root first) in the open empty folder `root`, which only the caller can
 * reach: names, contents with their holes, hard links, owners, modes, attributes, times. The root folder itself
 * stays as it is. Not durable: flush the file system before anything names it. Throws KernelError with the path.
 */
export async function writeTree(root: Fd, items: AsyncIterable<WalkedItem>): Promise<void> {
  const stack: Open[] = [];
  let sliceEnd = performance.now() + SLICE_MS;
  try {
    for await (const { entry, content } of items) {
      if (entry.path === '') continue;
      while (stack.length > 0 && !entry.path.startsWith(`${stack.at(-1)!.entry.path}/`))
        leave(root, stack);
      const dir = stack.at(-1)?.folder ?? root;
      try {
        if (entry.type === 'dir') stack.push({ entry, folder: enter(dir, nameOf(entry)) });
        else await make(root, dir, entry, content);
      } catch (error) {
        throw withDetail(error, entry.path);
      }
      if (performance.now() < sliceEnd) continue;
      await breathe();
      sliceEnd = performance.now() + SLICE_MS;
    }
    while (stack.length > 0) leave(root, stack);
  } finally {
    for (const { folder } of stack) folder.close();
  }
}

function nameOf({ path }: Walked): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function enter(dir: Fd, name: string): Fd {
  makeFolderIn(dir, name, 0o700);
  return openBeneath(dir, name, { flags: OPEN.folder, sameMount: true });
}

function leave(root: Fd, stack: Open[]): void {
  const { entry, folder } = stack.pop()!;
  folder.close();
  dress(stack.at(-1)?.folder ?? root, entry);
}

async function make(
  root: Fd,
  dir: Fd,
  entry: Walked,
  content: AsyncIterable<Buffer>,
): Promise<void> {
  const { type } = entry;
  if (type === 'hardlink') {
    link(root, entry.target ?? '', dir, nameOf(entry));
    return;
  }
  if (type === 'file') await writeFile(dir, entry, content);
  else if (type === 'symlink') symlinkIn(entry.target ?? '', dir, nameOf(entry));
  else if (type !== 'dir')
    mknodat(dir.number, cBytes(nameOf(entry)), NODE_TYPES[type] | 0o600, deviceNumber(entry));
  dress(dir, entry);
}

/** The first name is reached folder by folder: no link on the way is followed. */
function link(root: Fd, target: string, dir: Fd, name: string): void {
  const slash = target.lastIndexOf('/');
  using above = openBeneath(root, target.slice(0, Math.max(slash, 0)), {
    flags: OPEN.folder,
    sameMount: true,
  });
  linkIn(above, target.slice(slash + 1), dir, name);
}

async function writeFile(dir: Fd, entry: Walked, content: AsyncIterable<Buffer>): Promise<void> {
  using file = openBeneath(dir, nameOf(entry), { flags: OPEN.create, mode: 0o600 });
  const size = entry.size ?? 0;
  const extents = (entry.extents ?? [[0, size]]).map(([offset, length]) => ({ offset, length }));
  let at = 0;
  for await (const piece of content) {
    for (let done = 0; done < piece.length; ) {
      const extent = extents[at]!;
      const bytes = Math.min(piece.length - done, extent.length);
      const { bytesWritten } = await writeBytes(file.number, piece, done, bytes, extent.offset);
      done += bytesWritten;
      extent.offset += bytesWritten;
      extent.length -= bytesWritten;
      if (extent.length === 0) at += 1;
    }
  }
  ftruncateSync(file.number, size);
}

/** Owner before mode, because it clears set-id bits; mode before attributes, because a capability needs the last word; times last. */
function dress(dir: Fd, entry: Walked): void {
  const name = cBytes(nameOf(entry));
  fchownat(dir.number, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW);
  if (entry.type !== 'symlink') fchmodat(dir.number, name, entry.mode, 0);
  for (const [key, value] of entry.xattrs) writeXattr(`${dir.path}/${nameOf(entry)}`, key, value);
  setChangeTime(dir, nameOf(entry), BigInt(entry.mtime) * 1_000_000_000n + BigInt(entry.mtimeNs));
}

/** The kernel's 32-bit form of a device number (new_encode_dev). */
function deviceNumber({ rdev: [major, minor] = [0, 0] }: Walked): bigint {
  return BigInt(minor & 0xff) | (BigInt(major) << 8n) | (BigInt(minor & ~0xff) << 12n);
}
