import type { BigIntStats } from 'node:fs';
import { KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { readXattrs, readXattrsOf } from './xattrs.ts';

/** Marks of overlayfs in an upper folder that mean nothing once the tree stands alone. */
const OVERLAY_NOTES = /^trusted\.overlay\.(origin|impure|uuid|nlink|upper|protattr)$/;

/** One name of a walked tree, in the form of an entry of the canonical stream (byte strings). */
export interface Walked {
  path: string;
  type: 'dir' | 'file' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo' | 'socket';
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  mtimeNs: number;
  xattrs: [name: string, value: string][];
  target?: string;
  rdev?: [major: number, minor: number];
  size?: number;
  extents?: [offset: number, length: number][];
}

/** A further name of a hard-link group. */
export function linkTo(target: string, path: string): Walked {
  const none = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [] };
  return { path, type: 'hardlink', ...none, target };
}

/** The entry of a name, without what only its type has. With `uppers` the notes of overlayfs stay. */
export function describe(
  options: { uppers?: boolean },
  path: string,
  type: Walked['type'],
  stats: BigIntStats,
  place: string | Fd,
): Walked {
  // Rounded down for times before 1970: the nanoseconds always count upwards.
  const seconds = stats.mtimeNs / 1_000_000_000n - (stats.mtimeNs % 1_000_000_000n < 0n ? 1n : 0n);
  return {
    path,
    type,
    mode: type === 'symlink' ? 0o777 : Number(stats.mode & 0o7777n),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    mtime: Number(seconds),
    mtimeNs: Number(stats.mtimeNs - seconds * 1_000_000_000n),
    xattrs: xattrsOf(options, place, path),
  };
}

function xattrsOf(
  { uppers = false }: { uppers?: boolean },
  place: string | Fd,
  path: string,
): [string, string][] {
  let all: [string, string][];
  try {
    all = typeof place === 'string' ? readXattrs(place) : readXattrsOf(place);
  } catch (error) {
    throw withPath(error, path);
  }
  return uppers ? all : all.filter(([name]) => !OVERLAY_NOTES.test(name));
}

/** Major and minor of a device number (new_decode_dev of the kernel's 64-bit form). */
export function deviceOf(rdev: bigint): [major: number, minor: number] {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return [Number(major), Number(minor)];
}

/** The errno of an error, by name. */
export function codeOf(error: unknown): string {
  return (error as { code?: string } | null)?.code ?? 'EIO';
}

/** The error as one about `path`. */
export function withPath(error: unknown, path: string): KernelError {
  return new KernelError('read', codeOf(error), path);
}
