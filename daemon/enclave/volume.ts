import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import { ext4Maker } from '../kernel/ext4.ts';
import { ensureFolder, preallocate } from '../kernel/files.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import { attach, changeMount, cloneTree, unmount } from '../kernel/mounts.ts';
import { moveMount } from '../kernel/private-place.ts';
import { type Inside, whoIsInside } from '../kernel/processes.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { contentName, openContent, ownerOnly, topOf } from './content.ts';
import type { Enclave } from './enclave-rows.ts';
import { anchorOf, asideOf, type EnclaveRoom, folderOf, volumeOf } from './room.ts';
import { sealingOf } from './sealings.ts';

/** Below this an ext4 volume is mostly its own tables. */
export const volumeBytesMin = 16 * 1024 ** 2;
/** An allocation is made in steps, so that it can be followed and aborted. */
const STEP = 1024 ** 3;
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

function makerOfFileSystems(): string {
  const maker = ext4Maker();
  if (maker !== undefined) return maker;
  throw new PersonaError('tool-missing', {
    tool: 'mkfs.ext4',
    fix: '`apt install e2fsprogs`',
    reason: 'the volume of an enclave is made with it',
  });
}

/** Makes the file of a volume anew, with all its blocks. Throws `tool-missing`, or what the machine says. */
export async function makeVolume(
  room: EnclaveRoom,
  enclave: Enclave,
  signal: AbortSignal,
  done: (bytes: number) => void,
): Promise<void> {
  const maker = makerOfFileSystems();
  const { id, bytes } = enclave;
  await removeTree(folderOf(room, id));
  await ensureFolder(folderOf(room, id));
  const image = volumeOf(room, enclave);
  for (let at = 0; at < bytes; ) {
    signal.throwIfAborted();
    at = Math.min(bytes, at + STEP);
    await preallocate(image, at);
    done(at);
  }
  await sealingOf(enclave).prepare(image, enclave, maker);
  await preallocate(image, bytes); // mkfs has given some back
}

/** Encrypts a new volume under this key, with nothing in it; what an earlier try left is replaced. Returns the key's identifier. */
export function encryptVolume(
  room: EnclaveRoom,
  enclave: Enclave,
  key: LockedBytes,
): Promise<string> {
  return sealingOf(enclave).seal(room, enclave, makerOfFileSystems(), key);
}

function makePlace(place: string): void {
  mkdirSync(dirname(place), { recursive: true, mode: ownerOnly });
  mkdirSync(place, { recursive: true, mode: ownerOnly });
}

/**
 * Gives the volume its key and shows its content where the owner finds it: nosuid, nodev, owner only. Nothing happens when it is there. When
 * anything fails the caller hides it again.
 */
export async function showVolume(
  room: EnclaveRoom,
  enclave: Enclave,
  identifier: string,
  key: LockedBytes,
  fault: (point: string) => Promise<void>,
): Promise<void> {
  const { name, owner, gid } = enclave;
  if (isShown(room, name)) return;
  const [anchor, aside] = [anchorOf(room, name), asideOf(room, name)];
  makePlace(anchor);
  makePlace(aside);
  const mount = await sealingOf(enclave).unlock(room, enclave, identifier, key);
  try {
    await fault('key-added');
    using top = topOf(mount);
    using content = openContent(top);
    if (content === undefined)
      throw new PersonaError('state-damaged', `${volumeOf(room, enclave)} has lost its content`);
    chownSync(content.path, owner, gid);
    chmodSync(content.path, ownerOnly);
    // A part of a mount that is attached nowhere cannot be shown by itself on every kernel.
    attach(mount, aside);
    await fault('aside');
    try {
      const shown = cloneTree(`${aside}/${contentName}`);
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
  } finally {
    await mount.closeLater();
  }
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
 * they find nothing readable there. Who could not be told counts when he is its owner: nobody else can keep it open by what he has mapped.
 */
export async function insideOf(
  room: EnclaveRoom,
  { name, owner }: Pick<Enclave, 'name' | 'owner'>,
): Promise<Inside[]> {
  const device = deviceOf(room, name);
  if (device === undefined) return [];
  return (await whoIsInside(new Set([device]))).filter(
    (one) => one.by !== 'namespace' && (one.device !== undefined || one.uid === owner),
  );
}

/**
 * Takes an enclave off and its key away, however far it was opened. Safe to repeat. True when somebody still held a file of it open: what
 * he holds stays readable to him until he closes it, nothing else does.
 */
export function hideVolume(room: EnclaveRoom, enclave: Enclave): Promise<boolean> {
  return sealingOf(enclave).lock(room, enclave, async () => {
    for (const place of [anchorOf(room, enclave.name), asideOf(room, enclave.name)])
      if (isMounted(place)) await unmount(place, { detach: true });
  });
}

/** Whether a program still holds a file of an enclave that was closed while it did: its file system lives for nobody else. */
export async function isHeld(room: EnclaveRoom, enclave: Enclave): Promise<boolean> {
  if (!room.held.has(enclave.name)) return false;
  if (await sealingOf(enclave).isThere(room, enclave)) return true;
  room.held.delete(enclave.name);
  return false;
}
