import { constants } from 'node:fs';
import { withDetail } from './errno.ts';
import { Fd } from './fd.ts';
import { MOUNT_ATTR } from './fs-context.ts';
import { declareInt } from './libc.ts';

// Numbers of linux/mount.h and linux/fcntl.h.
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0x80000;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const MOVE_MOUNT_BENEATH = 0x200;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const openTreeCall = declareInt('open_tree', ['int', 'text', 'uint']);
const moveMountCall = declareInt('move_mount', ['int', 'text', 'int', 'text', 'uint']);
const setAttrCall = declareInt('mount_setattr', ['int', 'text', 'uint', 'bytes', 'u64']);
const umountCall = declareInt('umount2', ['text', 'int']);
const openCall = declareInt('open', ['text', 'int', 'uint']);

/** Bits of the propagation field of struct mount_attr (MS_* of linux/mount.h). */
const PROPAGATION = { shared: 1 << 20, slave: 1 << 19, private: 1 << 18, unbindable: 1 << 17 };
export type Propagation = keyof typeof PROPAGATION;

/** Opens the place `path` for mount work (O_PATH); symbolic links at its end are refused. */
export function openPlace(path: string): Fd {
  const O_PATH = 0x200000;
  const flags = O_PATH | constants.O_NOFOLLOW | 0x80000;
  try {
    return new Fd(openCall(path, flags, 0), path);
  } catch (error) {
    throw withDetail(error, path);
  }
}

/**
 * A detached copy of the mount at `from` (a bind mount attached nowhere). Holding it keeps the file system alive.
 * @param from a path, or a descriptor on the root of a mount.
 */
export function cloneTree(from: string | Fd, options: { recursive?: boolean } = {}): Fd {
  const recursive = options.recursive === true ? AT_RECURSIVE : 0;
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive;
  const what = typeof from === 'string' ? from : from.what;
  try {
    if (typeof from === 'string') {
      return new Fd(openTreeCall(AT_FDCWD, from, flags | AT_SYMLINK_NOFOLLOW), what);
    }
    return new Fd(openTreeCall(from.number, '', flags | AT_EMPTY_PATH), what);
  } catch (error) {
    throw withDetail(error, what);
  }
}

/**
 * Attaches the mount `tree` at `place`, or, with `beneath`, under the mount that covers `place`.
 * Attaching over an existing mount hides it, so callers that replace use `flip`.
 */
export function attach(tree: Fd, place: string | Fd, options: { beneath?: boolean } = {}): void {
  const beneath = options.beneath === true ? MOVE_MOUNT_BENEATH : 0;
  const flags = MOVE_MOUNT_F_EMPTY_PATH | beneath;
  const what = typeof place === 'string' ? place : place.what;
  try {
    if (typeof place === 'string') moveMountCall(tree.number, '', AT_FDCWD, place, flags);
    else moveMountCall(tree.number, '', place.number, '', flags | MOVE_MOUNT_T_EMPTY_PATH);
  } catch (error) {
    throw withDetail(error, `${tree.what} at ${what}${beneath ? ' (beneath)' : ''}`);
  }
}

/** Changes to one mount; what is absent stays. `idmap` is a descriptor of a user namespace. */
export interface MountChange {
  readOnly?: boolean;
  nosuid?: boolean;
  nodev?: boolean;
  noexec?: boolean;
  noatime?: boolean;
  idmap?: Fd;
  propagation?: Propagation;
  recursive?: boolean;
}

/** Sets per-mount attributes. Flags of lower mounts do not reach an overlay made of them: set them on the overlay. */
export function changeMount(mount: string | Fd, change: MountChange): void {
  let set = 0;
  let clear = 0;
  for (const key of ['readOnly', 'nosuid', 'nodev', 'noexec'] as const) {
    if (change[key] === true) set |= MOUNT_ATTR[key];
    if (change[key] === false) clear |= MOUNT_ATTR[key];
  }
  if (change.noatime === true) {
    set |= MOUNT_ATTR.noatime;
    clear |= MOUNT_ATTR.atimeMask; // the kernel wants the whole field cleared before a new value
  }
  if (change.idmap !== undefined) set |= MOUNT_ATTR.idmap;
  const attr = Buffer.alloc(32); // struct mount_attr, version 0
  attr.writeBigUInt64LE(BigInt(set), 0);
  attr.writeBigUInt64LE(BigInt(clear), 8);
  attr.writeBigUInt64LE(BigInt(change.propagation ? PROPAGATION[change.propagation] : 0), 16);
  attr.writeBigUInt64LE(BigInt(change.idmap?.number ?? 0), 24);
  const recursive = change.recursive === true ? AT_RECURSIVE : 0;
  const what = typeof mount === 'string' ? mount : mount.what;
  try {
    if (typeof mount === 'string') setAttrCall(AT_FDCWD, mount, recursive, attr, attr.length);
    else setAttrCall(mount.number, '', recursive | AT_EMPTY_PATH, attr, attr.length);
  } catch (error) {
    throw withDetail(error, what);
  }
}

/**
 * Takes the topmost mount away from `path`, in the thread pool: the call waits for readers of the mount table.
 * With `detach` it disappears at once and is released when its last user leaves.
 */
export async function unmount(path: string, options: { detach?: boolean } = {}): Promise<void> {
  const flags = UMOUNT_NOFOLLOW | (options.detach === true ? MNT_DETACH : 0);
  try {
    await umountCall.laterSurely(path, flags);
  } catch (error) {
    throw withDetail(error, path);
  }
}

/**
 * Takes the topmost mount away from `path` at once, on the calling thread. Only for a mount that a clone made just before
 * keeps alive, with all below it: then nothing is flushed, and what is left to wait for is one expedited RCU period.
 * Measured beside writers and a `sync` loop: 0.3 ms (p99 2 to 17) against 1.2 ms (p99 7 to 131) through the thread pool.
 */
export function unmountHeld(path: string): void {
  try {
    umountCall(path, UMOUNT_NOFOLLOW | MNT_DETACH);
  } catch (error) {
    throw withDetail(error, path);
  }
}
