import { chmodSync, rmdirSync } from 'node:fs';
import { failedWith } from './errno.ts';
import { type Ext4Options, keepExt4Blocks, mountExt4 } from './ext4.ts';
import type { Fd } from './fd.ts';
import { findLoop, isDirect } from './loop-find.ts';
import { attach, changeMount, unmount } from './mounts.ts';
import { statMount } from './stat-mount.ts';

/** A volume that is mounted. */
export interface HeldExt4 {
  /** The kernel will not give blocks of its file back. */
  kept: boolean;
  /** It is read and written past the page cache of the file system below. */
  direct: boolean;
}

/**
 * Mounts the ext4 image at the folder `at`, for root alone, or takes up the mount of an earlier run. Undefined when something
 * else is mounted there.
 * @param name the last part of the image's path.
 */
export async function holdExt4(
  image: Fd,
  name: string,
  at: string,
  options: Ext4Options = {},
): Promise<HeldExt4 | undefined> {
  if (statMount(at).isMountRoot) return await heldAlready(image, name, at);
  const { mount, kept } = await mountExt4(image, name, options);
  try {
    attach(mount, at);
  } finally {
    await mount.closeLater();
  }
  try {
    changeMount(at, { propagation: 'private' });
    chmodSync(at, 0o700);
    dropEmpty(`${at}/lost+found`);
    return { kept, direct: isDirect({ number: minorOf(statMount(at).device) }) };
  } catch (error) {
    await unmount(at, { detach: true });
    throw error;
  }
}

async function heldAlready(image: Fd, name: string, at: string): Promise<HeldExt4 | undefined> {
  const loop = await findLoop(image, name);
  if (loop === undefined) return undefined;
  try {
    if (statMount(at).device !== `7:${loop.number}`) return undefined;
    return { kept: keepExt4Blocks(loop), direct: isDirect(loop) };
  } finally {
    await loop.device.closeLater();
  }
}

const minorOf = (device: string): number => Number(device.split(':')[1]);

/** ext4 has it for its repairs, which make it again; beside what we keep it is in the way. */
function dropEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!failedWith(error, 'ENOENT', 'ENOTEMPTY', 'EROFS')) throw error;
  }
}
