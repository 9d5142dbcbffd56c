import { chmodSync, chownSync, constants, mkdirSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import { ext4Maker, makeExt4, mountExt4 } from '../kernel/ext4.ts';
import type { Fd } from '../kernel/fd.ts';
import { ensureFolder, exists, preallocate, syncFileSystem } from '../kernel/files.ts';
import {
  addFileSystemKey,
  encryptedUnder,
  encryptFolder,
  removeFileSystemKey,
} from '../kernel/fscrypt.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import { findLoop } from '../kernel/loop-find.ts';
import { attach, changeMount, cloneTree, unmount } from '../kernel/mounts.ts';
import { makeFolderIn, OPEN, openBeneath, openFile, unlinkIn } from '../kernel/openat.ts';
import { moveMount } from '../kernel/private-place.ts';
import { type Inside, whoIsInside } from '../kernel/processes.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { statMount } from '../kernel/stat-mount.ts';
import type { Enclave } from './enclave-rows.ts';
import { anchorOf, asideOf, type EnclaveRoom, folderOf, volumeName, volumeOf } from './room.ts';

/** Below this an ext4 volume is mostly its own tables. */
export const volumeBytesMin = 16 * 1024 ** 2;
/** An allocation is made in steps, so that it can be followed and aborted. */
const STEP = 1024 ** 3;
/** The name that the file system of every enclave bears. */
export const enclaveLabel = 'persona-enclave';
/** The one folder of a volume that is encrypted. The top of an ext4 file system cannot be. */
const DATA = 'data';
/** Whose alone an open enclave is. */
const OWNER_ONLY = 0o700;

const readWrite = constants.O_RDWR | constants.O_NOFOLLOW;

/** Whether the kernel shows a mount at the place. */
function isMounted(place: string): boolean {
  try {
    return statMount(place).isMountRoot;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return false;
    throw error;
  }
}

/** True while the enclave is where its owner finds it. */
export function isShown(room: EnclaveRoom, name: string): boolean {
  return isMounted(anchorOf(room, name));
}

/** Makes the volume anew, with all its blocks. Throws `tool-missing`, or what the machine says. */
export async function makeVolume(
  room: EnclaveRoom,
  { id, bytes }: Pick<Enclave, 'id' | 'bytes'>,
  signal: AbortSignal,
  done: (bytes: number) => void,
): Promise<void> {
  const maker = ext4Maker();
  if (maker === undefined)
    throw new PersonaError('tool-missing', {
      tool: 'mkfs.ext4',
      fix: '`apt install e2fsprogs`',
      reason: 'the volume of an enclave is made with it',
    });
  await removeTree(folderOf(room, id));
  await ensureFolder(folderOf(room, id));
  const image = volumeOf(room, id);
  for (let at = 0; at < bytes; ) {
    signal.throwIfAborted();
    at = Math.min(bytes, at + STEP);
    await preallocate(image, at);
    done(at);
  }
  await makeExt4(maker, image, id, enclaveLabel, { features: ['encrypt'] });
  await preallocate(image, bytes); // mkfs has given some back
}

/** Works on the volume, mounted where nobody sees it: of an open enclave this is one more mount of the same file system. */
async function withFileSystem<T>(
  room: EnclaveRoom,
  id: string,
  work: (mount: Fd, top: Fd) => Promise<T>,
): Promise<T> {
  using file = openFile(volumeOf(room, id), readWrite);
  const { mount } = await mountExt4(file, volumeName);
  try {
    using top = openBeneath(mount, '.', { flags: OPEN.folder });
    return await work(mount, top);
  } finally {
    await mount.closeLater();
  }
}

/** Makes the encrypted folder of a new volume, empty, under this key; what an earlier try left is replaced. Returns the key's identifier. */
export async function encryptVolume(
  room: EnclaveRoom,
  { id, owner, gid }: Pick<Enclave, 'id' | 'owner' | 'gid'>,
  key: LockedBytes,
): Promise<string> {
  return await withFileSystem(room, id, async (_, top) => {
    chmodSync(top.path, OWNER_ONLY);
    if (readdirSync(top.path).includes(DATA)) unlinkIn(top, DATA, true);
    makeFolderIn(top, DATA, OWNER_ONLY);
    const identifier = addFileSystemKey(top, key);
    try {
      using data = openBeneath(top, DATA, { flags: OPEN.folder });
      encryptFolder(data, identifier);
      chownSync(data.path, owner, gid);
      await syncFileSystem(`${top.path}/.`);
    } finally {
      await removeFileSystemKey(top, identifier);
    }
    return identifier;
  });
}

function makePlace(place: string): void {
  mkdirSync(dirname(place), { recursive: true, mode: OWNER_ONLY });
  mkdirSync(place, { recursive: true, mode: OWNER_ONLY });
}

/**
 * Gives the volume its key and shows the encrypted folder where the owner finds it: nosuid, nodev, owner only. Nothing happens when it
 * is there. When anything fails the key is taken away again.
 */
export async function showVolume(
  room: EnclaveRoom,
  { name, id, owner, gid }: Pick<Enclave, 'name' | 'id' | 'owner' | 'gid'>,
  identifier: string,
  key: LockedBytes,
  fault: (point: string) => Promise<void>,
): Promise<void> {
  if (isShown(room, name)) return;
  const [anchor, aside] = [anchorOf(room, name), asideOf(room, name)];
  makePlace(anchor);
  makePlace(aside);
  await withFileSystem(room, id, async (mount, top) => {
    if (addFileSystemKey(top, key) !== identifier)
      throw new PersonaError('state-damaged', `the key of ${volumeOf(room, id)} is another one`);
    await fault('key-added');
    using data = openBeneath(top, DATA, { flags: OPEN.folder });
    if (encryptedUnder(data) !== identifier)
      throw new PersonaError('state-damaged', `${volumeOf(room, id)} is not encrypted as it was`);
    chownSync(data.path, owner, gid);
    chmodSync(data.path, OWNER_ONLY);
    // A part of a mount that is attached nowhere cannot be shown by itself on every kernel.
    attach(mount, aside);
    await fault('aside');
    try {
      const shown = cloneTree(`${aside}/${DATA}`);
      try {
        attach(shown, anchor);
        changeMount(shown, { nosuid: true, nodev: true, propagation: 'private' });
      } finally {
        await shown.closeLater();
      }
    } finally {
      await unmount(aside, { detach: true });
    }
    await fault('shown');
  });
}

/** Puts an open enclave where nobody but root comes, with those inside; nothing happens when it is there. */
export function putAside(room: EnclaveRoom, name: string): void {
  makePlace(asideOf(room, name));
  if (isShown(room, name)) moveMount(anchorOf(room, name), asideOf(room, name));
}

/** Puts it back; nothing happens when it is there. */
export function putBack(room: EnclaveRoom, name: string): void {
  if (isMounted(asideOf(room, name)) && !isShown(room, name))
    moveMount(asideOf(room, name), anchorOf(room, name));
}

/** The file system of an enclave, `major:minor`, while it is shown or put aside. */
export function deviceOf(room: EnclaveRoom, name: string): string | undefined {
  const place = [anchorOf(room, name), asideOf(room, name)].find(isMounted);
  return place === undefined ? undefined : statMount(place).device;
}

/**
 * Programs that have something of an open enclave open. Not those that only have it among the mounts of their namespace: without the key
 * they find nothing readable there.
 */
export async function insideOf(room: EnclaveRoom, name: string): Promise<Inside[]> {
  const device = deviceOf(room, name);
  if (device === undefined) return [];
  return (await whoIsInside(new Set([device]))).filter(({ by }) => by !== 'namespace');
}

/**
 * Takes an enclave off and its key away, however far it was opened. Safe to repeat. True when somebody still held a file of it open: what
 * he holds stays readable to him until he closes it, nothing else does.
 */
export async function hideVolume(
  room: EnclaveRoom,
  { name, id }: Pick<Enclave, 'name' | 'id'>,
): Promise<boolean> {
  if (!(await isAttached(room, id))) return false;
  return await withFileSystem(room, id, async (_, top) => {
    for (const place of [anchorOf(room, name), asideOf(room, name)])
      if (isMounted(place)) await unmount(place, { detach: true });
    const identifier = keyOf(top);
    return identifier !== undefined && (await removeFileSystemKey(top, identifier)).busy;
  });
}

/** Whether a program still holds a file of an enclave that was closed while it did: its file system lives for nobody else. */
export async function isHeld(
  room: EnclaveRoom,
  { name, id }: Pick<Enclave, 'name' | 'id'>,
): Promise<boolean> {
  if (!room.held.has(name)) return false;
  if (await isAttached(room, id)) return true;
  room.held.delete(name);
  return false;
}

/** The key that a volume is encrypted under, from its own folder: known also when the record of the key is lost. */
function keyOf(top: Fd): string | undefined {
  using data = openBeneath(top, DATA, { flags: OPEN.folder });
  return encryptedUnder(data);
}

/** Whether a loop device shows the volume, mounted in our sight or not. */
async function isAttached(room: EnclaveRoom, id: string): Promise<boolean> {
  if (!(await exists(volumeOf(room, id)))) return false;
  using file = openFile(volumeOf(room, id), readWrite);
  const loop = await findLoop(file, volumeName);
  await loop?.device.closeLater();
  return loop !== undefined;
}
