import { constants, mkdirSync, openSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import { makeExt4, mountExt4 } from '../kernel/ext4.ts';
import { Fd } from '../kernel/fd.ts';
import { exists, namesOf, removeFile } from '../kernel/files.ts';
import { isDetached, isDirect } from '../kernel/loop-find.ts';
import { ownBlocks } from '../kernel/own-blocks.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { EXT4_LABEL, handOver, isFinished, isMarked, makerOfExt4 } from './ext4-ground.ts';
import type { Medium } from './medium.ts';
import type { FastPartition } from './partition.ts';

/** The number of the loop device that a mount lies on. */
const minorOf = (mount: Fd): number => Number(statMount(mount).device.split(':')[1]);

/** The loop device in a mount's source. */
const loopOf = (source: string): number | undefined => {
  const number = /^\/dev\/loop(\d+)$/.exec(source)?.[1];
  return number === undefined ? undefined : Number(number);
};

/** What fast partitions need of volumes. */
export interface FastVolumes {
  /** Volumes that can be used now. */
  usable(): string[];
  /** The folder in a volume that holds images of fast partitions. Throws volume-not-found, and state-damaged while it cannot be used. */
  fastOf(volume: string): string;
  /** Bytes that can be taken of a volume before it is about to be full. */
  spareBytes(volume: string): number;
}

const imageName = (id: string): string => `${id}.ext4`;

/** Removes images in volumes that belong to none of these partitions: a restore leaves them behind, and what was given up while its volume could not be used. */
export async function removeStrays(
  volumes: FastVolumes,
  known: readonly FastPartition[],
): Promise<void> {
  const names = new Set(known.map(({ id }) => imageName(id)));
  for (const folder of volumes.usable().map((volume) => volumes.fastOf(volume)))
    for (const name of namesOf(folder, 'file'))
      if (!names.has(name)) await removeFile(join(folder, name));
}

/**
 * The disk of the state tree: ext4 without a journal in an image whose blocks are set aside, so that writing into it never finds the disk
 * full (SECURITY 25). @param folder where images are kept that lie in no volume.
 */
export function nvmeIn(folder: string, volumes: FastVolumes): Medium {
  const folderOf = ({ volume }: FastPartition): string =>
    volume === undefined ? folder : volumes.fastOf(volume);
  const imageOf = (partition: FastPartition): string =>
    join(folderOf(partition), imageName(partition.id));

  const owned = async (partition: FastPartition): Promise<void> => {
    const missing = await ownBlocks(imageOf(partition), partition.bytes);
    if (missing === 0) return;
    throw new PersonaError('no-space', {
      needed: `${formatSize(missing)} more for fast partition ${partition.name}`,
      free: formatSize(localSpaceOf(folderOf(partition)).availableBytes),
      path: folderOf(partition),
    });
  };

  const make = async (partition: FastPartition): Promise<void> => {
    const image = imageOf(partition);
    const maker = makerOfExt4();
    mkdirSync(folderOf(partition), { recursive: true, mode: 0o700 });
    await removeFile(image);
    await owned(partition);
    await makeExt4(maker, image, partition.id, EXT4_LABEL, { journalBytes: 0 });
    await owned(partition); // some mkfs give blocks back all the same
  };

  return {
    bytesMin: 16 * 1024 * 1024,
    takesMemory: false,
    countsAs: 1,
    obstacle: () => undefined,
    async open(partition) {
      const image = imageOf(partition);
      const there = (await exists(image)) && isMarked(image, partition) && isFinished(image);
      if (there) await owned(partition);
      else await make(partition);
      using file = new Fd(openSync(image, constants.O_RDWR | constants.O_NOFOLLOW), image);
      const { mount } = await mountExt4(file, basename(image), { directIo: true });
      try {
        if (!there) handOver(mount, partition);
      } catch (error) {
        await mount.closeLater();
        throw error;
      }
      return { mount, empty: !there, opened: { buffered: !isDirect({ number: minorOf(mount) }) } };
    },
    openedOf(partition, { type, source }) {
      const number = type === 'ext4' ? loopOf(source) : undefined;
      if (number === undefined || !isMarked(source, partition)) return undefined;
      return { buffered: !isDirect({ number }) };
    },
    memoryBytes: () => 0,
    async keepUp(partition) {
      const missing = await ownBlocks(imageOf(partition), partition.bytes);
      if (missing === 0) return undefined;
      return `${formatSize(missing)} of it are not set aside: make room on the disk and restart the daemon`;
    },
    async drop(partition) {
      const { volume } = partition;
      // What cannot be reached goes when its volume is back.
      if (volume !== undefined && !volumes.usable().includes(volume)) return;
      const image = imageOf(partition);
      if (!(await exists(image))) return;
      using file = new Fd(openSync(image, constants.O_RDONLY | constants.O_NOFOLLOW), image);
      // The device has its blocks, and keeps the volume busy, a moment longer than the mount.
      await isDetached(file, basename(image));
      await removeFile(image);
    },
  };
}
