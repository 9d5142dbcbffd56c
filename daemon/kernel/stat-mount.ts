import { withDetail } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_NO_AUTOMOUNT = 0x800;
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_BASIC = 0x7ff;
const STATX_INO = 0x100;
const STATX_MNT_ID = 0x1000;
const ATTR_MOUNT_ROOT = 0x2000n;
const SIZE = 256; // struct statx, padded by the kernel for growth

const statx = declareInt('statx', ['int', 'text', 'int', 'uint', 'bytes']);

/** Where a path or descriptor lives: its mount, its file system, and whether it is the root of the mount. */
export interface MountStat {
  /** Identifies the mount among those that exist now (reused later). */
  mountId: number;
  /** Device of the file system, `major:minor` as mountinfo writes it. */
  device: string;
  isMountRoot: boolean;
  inode: bigint;
  mode: number;
  uid: number;
  gid: number;
  /** Last change of the content, nanoseconds since 1970. */
  mtimeNs: bigint;
}

/**
 * Device, inode and mount of what a link of /proc/PID points to, and which device it is `itself`, asking no file system: a hung server cannot hold us up.
 * Undefined when the process or the descriptor is gone, or is none of our business.
 */
export function statProcLink(
  path: string,
): { device: string; inode: bigint; mountId: number; itself: string } | undefined {
  const out = Buffer.alloc(SIZE);
  try {
    statx(AT_FDCWD, path, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, out);
  } catch {
    return undefined;
  }
  const inode = out.readBigUInt64LE(32);
  const itself = `${out.readUInt32LE(128)}:${out.readUInt32LE(132)}`;
  return { device: deviceOf(out), inode, mountId: Number(out.readBigUInt64LE(144)), itself };
}

function deviceOf(out: Buffer): string {
  return `${out.readUInt32LE(136)}:${out.readUInt32LE(140)}`;
}

/** Reads the mount identity of `at` without following a symbolic link at its end. Does not block on local file systems. */
export function statMount(at: string | Fd): MountStat {
  const out = Buffer.alloc(SIZE);
  const mask = STATX_BASIC | STATX_MNT_ID;
  try {
    if (typeof at === 'string') {
      statx(AT_FDCWD, at, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, mask, out);
    } else statx(at.number, '', AT_EMPTY_PATH | AT_NO_AUTOMOUNT, mask, out);
  } catch (error) {
    throw withDetail(error, typeof at === 'string' ? at : at.what);
  }
  return {
    mountId: Number(out.readBigUInt64LE(144)),
    device: deviceOf(out),
    isMountRoot: (out.readBigUInt64LE(8) & ATTR_MOUNT_ROOT) !== 0n,
    inode: out.readBigUInt64LE(32),
    mode: out.readUInt16LE(28),
    uid: out.readUInt32LE(20),
    gid: out.readUInt32LE(24),
    mtimeNs: out.readBigInt64LE(112) * 1_000_000_000n + BigInt(out.readUInt32LE(120)),
  };
}

const fstatfs = declareInt('fstatfs', ['int', 'bytes']);
/** struct statfs of 64-bit machines; ST_* flags of sys/statvfs.h. */
const STATFS_SIZE = 120;
const STATFS_FLAGS = 80;
const ST_RDONLY = 1;
const ST_NOSUID = 2;
const ST_NODEV = 4;

/** Flags that hold for whoever reaches a file through this very mount, attached or not. */
export function mountFlags(mount: Fd): { readOnly: boolean; nosuid: boolean; nodev: boolean } {
  const out = Buffer.alloc(STATFS_SIZE);
  fstatfs(mount.number, out);
  const flags = out.readUInt32LE(STATFS_FLAGS);
  return {
    readOnly: (flags & ST_RDONLY) !== 0,
    nosuid: (flags & ST_NOSUID) !== 0,
    nodev: (flags & ST_NODEV) !== 0,
  };
}
