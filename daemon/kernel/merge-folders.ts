import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { cBytes, namesLater, OPEN, openBeneath } from './openat.ts';
import { readXattrsOf } from './xattrs.ts';

const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_BASIC = 0x7ff;
const STATX_SIZE = 256;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
/** Deeper trees stay unmerged: each level holds a descriptor per layer. */
const DEPTH_MAX = 128;
const OPAQUE = 'trusted.overlay.opaque';
/** Says that names below have an origin elsewhere; true of the whole when it is of one part. */
const IMPURE = 'trusted.overlay.impure';

const statx = declareInt('statx', ['int', 'bytes', 'int', 'uint', 'bytes']);
const linkat = declareInt('linkat', ['int', 'bytes', 'int', 'bytes', 'int']);
const mkdirat = declareInt('mkdirat', ['int', 'bytes', 'uint']);
const mknodat = declareInt('mknodat', ['int', 'bytes', 'uint', 'u64']);
const fchown = declareInt('fchown', ['int', 'uint', 'uint']);
const fchmod = declareInt('fchmod', ['int', 'uint']);
const futimens = declareInt('futimens', ['int', 'bytes']);
const fsetxattr = declareInt('fsetxattr', ['int', 'bytes', 'bytes', 'u64', 'int']);

interface Stat {
  mode: number;
  uid: number;
  gid: number;
  /** Both times as struct timespec[2]. */
  times: Buffer;
  isFolder: boolean;
  isWhiteout: boolean;
}

function statIn(dir: Fd, name: string): Stat | undefined {
  const out = Buffer.alloc(STATX_SIZE);
  try {
    statx(dir.number, cBytes(name), AT_SYMLINK_NOFOLLOW, STATX_BASIC, out);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
  const mode = out.readUInt16LE(28);
  const times = Buffer.alloc(32);
  for (const [from, to] of [
    [64, 0],
    [112, 16],
  ] as const) {
    out.copy(times, to, from, from + 8);
    times.writeBigInt64LE(BigInt(out.readUInt32LE(from + 8)), to + 8);
  }
  return {
    mode,
    uid: out.readUInt32LE(20),
    gid: out.readUInt32LE(24),
    times,
    isFolder: (mode & S_IFMT) === S_IFDIR,
    isWhiteout: (mode & S_IFMT) === S_IFCHR && out.readBigUInt64LE(128) === 0n,
  };
}

function isOpaque(folder: Fd): boolean {
  return readXattrsOf(folder).some(([name, value]) => name === OPAQUE && value === 'y');
}

/** Gives the merged folder what the topmost one has; times last, because everything before changes them. */
async function dress(target: Fd, stat: Stat, parts: Fd[], opaque: boolean): Promise<void> {
  const xattrs = new Map(readXattrsOf(parts[0]!));
  xattrs.delete(OPAQUE);
  if (opaque) xattrs.set(OPAQUE, 'y');
  if (parts.some((part) => readXattrsOf(part).some(([name]) => name === IMPURE))) {
    xattrs.set(IMPURE, 'y');
  }
  await fchown.later(target.number, stat.uid, stat.gid);
  await fchmod.later(target.number, stat.mode & 0o7777);
  for (const [name, value] of xattrs) {
    const bytes = Buffer.from(value, 'latin1');
    await fsetxattr.later(target.number, cBytes(name), bytes, bytes.length, 0);
  }
  await futimens.later(target.number, stat.times);
}

/** The folders `name` of these layers that show through, top first, and whether they hide what is below all layers. */
function partsOf(layers: Fd[], name: string): { parts: Fd[]; opaque: boolean } {
  const parts: Fd[] = [];
  try {
    for (const layer of layers) {
      const stat = statIn(layer, name);
      if (stat === undefined) continue;
      // A file or a whiteout below a folder: what lies under it is hidden from the folder too.
      if (!stat.isFolder) return { parts, opaque: true };
      const part = openBeneath(layer, name, { flags: OPEN.folder, sameMount: true });
      parts.push(part);
      if (isOpaque(part)) return { parts, opaque: true };
    }
    return { parts, opaque: false };
  } catch (error) {
    for (const part of parts) part.close();
    throw error;
  }
}

async function mergeOne(
  layers: Fd[],
  name: string,
  target: Fd,
  depth: number,
  stop: AbortSignal,
): Promise<void> {
  const stat = statIn(layers[0]!, name);
  if (stat === undefined) throw new Error('a layer changed while it was merged');
  const bytes = cBytes(name);
  if (stat.isWhiteout) {
    await mknodat.later(target.number, bytes, S_IFCHR, 0);
    return;
  }
  if (!stat.isFolder) {
    await linkat.later(layers[0]!.number, bytes, target.number, bytes, 0);
    return;
  }
  const { parts, opaque } = partsOf(layers, name);
  try {
    await mkdirat.later(target.number, bytes, 0o700);
    using made = openBeneath(target, name, { flags: OPEN.folder, sameMount: true });
    await mergeNames(parts, made, depth + 1, stop);
    await dress(made, stat, parts, opaque);
  } finally {
    for (const part of parts) part.close();
  }
}

async function mergeNames(
  layers: Fd[],
  target: Fd,
  depth: number,
  stop: AbortSignal,
): Promise<void> {
  if (depth > DEPTH_MAX) throw new Error(`folders deeper than ${DEPTH_MAX} are not merged`);
  const seen = new Set<string>();
  for (const [i, layer] of layers.entries()) {
    for (const name of await namesLater(layer)) {
      if (seen.has(name)) continue;
      seen.add(name);
      stop.throwIfAborted();
      await mergeOne(layers.slice(i), name, target, depth, stop);
    }
  }
}

/**
 * Joins upper folders of overlays into one that means the same on whatever lies below: what is topmost wins, whiteouts and opaque
 * folders stay. Files are linked, not copied: nothing of them may be changed any more, by either name.
 * Reaches everything by descriptor; works in the thread pool. On failure `target` is to be thrown away.
 * @param layers the folders, top first; @param target an empty folder on the same file system.
 */
export async function mergeFolders(layers: Fd[], target: Fd, stop: AbortSignal): Promise<void> {
  await mergeNames(layers, target, 0, stop);
  const stat = statIn(layers[0]!, '.');
  if (stat !== undefined) await dress(target, stat, layers, false);
}
