import { type BigIntStats, fstatSync, lstatSync, readlinkSync, readSync } from 'node:fs';
import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { namesIn, OPEN, openBeneath, openFolder } from './openat.ts';
import { dataRanges } from './sparse.ts';
import { chosen } from './walk-choice.ts';
import { codeOf, describe, deviceOf, linkTo, type Walked, withPath } from './walked.ts';

/** A walked name with the data of its extents, to be read before the next is asked for. */
export interface WalkedItem {
  entry: Walked;
  content: AsyncIterable<Buffer>;
}

/** What to leave out, and how strict to be. */
export interface WalkOptions {
  /** Paths relative to the root: of a folder the content is left out, it stays, empty; other names are left out. */
  exclude: readonly string[];
  /** Files whose names and metadata stay, without their content. */
  blank: readonly string[];
  /** A folder below the root where one of these paths leads to something stays, empty, wherever it lies. */
  leaveWith?: readonly string[];
  /** When given: only these paths with all below them, and the folders that lead to them. */
  only?: readonly string[];
  /** The tree holds writable layers, to be kept as they lie on the disk: with the marks of overlayfs, and with sockets. */
  uppers?: boolean;
  /** Folders that lie elsewhere: at this path relative to the root, this one is walked in place of what is there. */
  grafts?: readonly { path: string; folder: string }[];
  /**
   * The tree is in use: what vanishes is left out, what shrinks is filled up with zeros, sockets are skipped.
   * Otherwise a change under the walker is an error.
   */
  live: boolean;
  depthMax: number;
  extentsMax: number;
}

const PIECE_BYTES = 256 * 1024;
const nothing: AsyncIterable<Buffer> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true as const, value: undefined }) }),
};

const FILE_FLAGS = OPEN.read | OPEN.nonBlocking;

interface Walk {
  options: WalkOptions;
  /** Whether a path is wanted. */
  wants(path: string): boolean;
  left: ReadonlySet<string>;
  blank: ReadonlySet<string>;
  grafts: ReadonlyMap<string, string>;
  /** First path of each inode with several names. */
  links: Map<string, string>;
}

/** The path changed, vanished, or is not what it was a moment ago. */
function changed(path: string): KernelError {
  return new KernelError('read', 'ESTALE', path);
}

/**
 * Walks the tree at `root`: every name with all its metadata, in path order (depth first, names bytewise), the
 * root first. Goes by descriptor, follows no link, enters no other mount: a mounted folder stays as an empty folder.
 * Throws KernelError with the path as detail: EACCES where the process may not read, ESTALE when it changed.
 */
export async function* walkTree(root: Fd, options: WalkOptions): AsyncGenerator<WalkedItem> {
  const walk: Walk = {
    options,
    wants: options.only === undefined ? () => true : chosen(options.only),
    left: new Set(options.exclude),
    blank: new Set(options.blank),
    grafts: new Map((options.grafts ?? []).map(({ path, folder }) => [path, folder])),
    links: new Map(),
  };
  const stats = fstatSync(root.number, { bigint: true });
  yield { entry: describe(walk.options, '', 'dir', stats, root), content: nothing };
  yield* walkFolder(walk, root, '', 1);
}

async function* walkFolder(
  walk: Walk,
  dir: Fd,
  path: string,
  depth: number,
): AsyncGenerator<WalkedItem> {
  if (walk.left.has(path) && path !== '') return;
  if (depth > walk.options.depthMax) throw new KernelError('walk', 'ENAMETOOLONG', path);
  const names = namesIn(dir).sort();
  if (path !== '' && holdsAny(dir, names, walk.options.leaveWith ?? [])) return;
  for (const name of names) {
    const inside = path === '' ? name : `${path}/${name}`;
    if (!walk.wants(inside)) continue;
    try {
      yield* walkName(walk, dir, name, inside, depth);
    } catch (error) {
      if (walk.options.live && failedWith(error, 'ENOENT', 'ESTALE')) {
        disown(walk, inside);
        continue;
      }
      throw error instanceof KernelError || !(error instanceof Error)
        ? error
        : new KernelError('read', (error as NodeJS.ErrnoException).code ?? 'EIO', inside);
    }
  }
}

/** Whether one of `wanted` is below a folder with these names; by no link and on no other mount, which might not answer. */
function holdsAny(dir: Fd, names: readonly string[], wanted: readonly string[]): boolean {
  return wanted.some((path) => {
    if (!names.includes(path.split('/', 1)[0] as string)) return false;
    try {
      openBeneath(dir, path, { flags: OPEN.path, sameMount: true }).close();
      return true;
    } catch (error) {
      if (failedWith(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) return false;
      throw error;
    }
  });
}

const TYPES = new Map<bigint, Walked['type']>([
  [0o040000n, 'dir'],
  [0o100000n, 'file'],
  [0o120000n, 'symlink'],
  [0o020000n, 'char'],
  [0o060000n, 'block'],
  [0o010000n, 'fifo'],
  [0o140000n, 'socket'],
]);

async function* walkName(
  walk: Walk,
  dir: Fd,
  name: string,
  path: string,
  depth: number,
): AsyncGenerator<WalkedItem> {
  const place = `${dir.path}/${name}`;
  const stats = lstatSync(Buffer.from(place, 'latin1'), { bigint: true });
  const type = TYPES.get(stats.mode & 0o170000n);
  if (type === undefined) throw changed(path);
  if (type === 'dir') {
    yield* walkDown(walk, dir, name, path, depth);
    return;
  }
  if (type === 'socket' && walk.options.live && walk.options.uppers !== true) return;
  if (walk.left.has(path)) return;
  const first = firstName(walk, stats, path);
  if (first !== path) yield { entry: linkTo(first, path), content: nothing };
  else if (type === 'file') yield* walkFile(walk, dir, name, path, stats);
  else {
    const entry = describe(walk.options, path, type, stats, place);
    if (type === 'symlink') {
      entry.target = readlinkSync(Buffer.from(place, 'latin1'), { encoding: 'latin1' });
    }
    if (type === 'char' || type === 'block') entry.rdev = deviceOf(stats.rdev);
    yield { entry, content: nothing };
  }
}

async function* walkDown(
  walk: Walk,
  dir: Fd,
  name: string,
  path: string,
  depth: number,
): AsyncGenerator<WalkedItem> {
  let folder: Fd | undefined;
  const graft = walk.grafts.get(path);
  try {
    if (graft !== undefined) folder = openFolder(graft);
    else folder = openBeneath(dir, name, { flags: OPEN.folder, sameMount: true });
  } catch (error) {
    if (failedWith(error, 'ENOTDIR', 'ELOOP')) throw changed(path);
    if (!failedWith(error, 'EXDEV')) throw new KernelError('open', codeOf(error), path);
  }
  if (folder === undefined) {
    const place = `${dir.path}/${name}`;
    const stats = lstatSync(Buffer.from(place, 'latin1'), { bigint: true });
    yield { entry: describe(walk.options, path, 'dir', stats, place), content: nothing };
    return;
  }
  try {
    const stats = fstatSync(folder.number, { bigint: true });
    yield { entry: describe(walk.options, path, 'dir', stats, folder), content: nothing };
    yield* walkFolder(walk, folder, path, depth + 1);
  } finally {
    folder.close();
  }
}

async function* walkFile(
  walk: Walk,
  dir: Fd,
  name: string,
  path: string,
  seen: BigIntStats,
): AsyncGenerator<WalkedItem> {
  let file: Fd;
  try {
    file = openBeneath(dir, name, { flags: FILE_FLAGS, sameMount: true });
  } catch (error) {
    // A mounted file: like a mounted folder, its name stays, empty.
    if (failedWith(error, 'EXDEV')) {
      const entry = describe(walk.options, path, 'file', seen, `${dir.path}/${name}`);
      yield { entry: { ...entry, size: 0 }, content: nothing };
      return;
    }
    throw failedWith(error, 'ELOOP', 'ENXIO') ? changed(path) : withPath(error, path);
  }
  try {
    const stats = fstatSync(file.number, { bigint: true });
    if (walk.blank.has(path)) {
      yield {
        entry: { ...describe(walk.options, path, 'file', stats, file), size: 0 },
        content: nothing,
      };
      return;
    }
    if (stats.ino !== seen.ino || stats.dev !== seen.dev) throw changed(path);
    const entry = describe(walk.options, path, 'file', stats, file);
    const size = Number(stats.size);
    entry.size = size;
    if (size > 0 && stats.blocks * 512n < stats.size) {
      const ranges = dataRanges(file.number, size, walk.options.extentsMax);
      const whole = ranges.length === 1 && ranges[0]?.[0] === 0 && ranges[0][1] === size;
      if (!whole) entry.extents = ranges;
    }
    const ranges = entry.extents ?? (size === 0 ? [] : [[0, size] as [number, number]]);
    yield { entry, content: contentOf(file.number, ranges, path, walk.options.live) };
  } finally {
    file.close();
  }
}

async function* contentOf(
  fd: number,
  ranges: readonly (readonly [number, number])[],
  path: string,
  live: boolean,
): AsyncGenerator<Buffer> {
  for (const [offset, length] of ranges) {
    for (let done = 0; done < length; ) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, length - done));
      const got = readSync(fd, piece, 0, piece.length, offset + done);
      if (got === 0) {
        if (!live) throw changed(path);
        piece.fill(0);
      }
      const bytes = got === 0 ? piece : piece.subarray(0, got);
      done += bytes.length;
      yield bytes;
    }
  }
}

/** The path that owns this inode in the stream: this one, or an earlier name of a hard-link group. */
function firstName(walk: Walk, stats: BigIntStats, path: string): string {
  if (stats.nlink < 2n) return path;
  const id = `${stats.dev}:${stats.ino}`;
  const first = walk.links.get(id);
  if (first === undefined) walk.links.set(id, path);
  return first ?? path;
}

/** The name vanished before it was told of: the next one of its group, if any, is the first. */
function disown({ links }: Walk, path: string): void {
  for (const [id, first] of links) if (first === path) links.delete(id);
}
