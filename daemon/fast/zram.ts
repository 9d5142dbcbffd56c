import { chmodSync, chownSync, rmdirSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import { ext4Maker, makeExt4, markExt4, mountExt4Device, readExt4 } from '../kernel/ext4.ts';
import type { Fd } from '../kernel/fd.ts';
import {
  addZram,
  allZram,
  hasZram,
  isThere,
  removeZram,
  sizeZram,
  type Zram,
  zramMemory,
  zramOf,
  zramPath,
} from '../kernel/zram.ts';
import type { Medium } from './medium.ts';
import type { FastPartition } from './partition.ts';

/** Label of the ext4 file systems of fast partitions; each has the partition's id as its UUID. */
export const EXT4_LABEL = 'persona-fast';

/** True when the device holds the file system of this partition. */
function holds(device: Zram, { id }: FastPartition): boolean {
  const found = readExt4(zramPath(device));
  return found?.label === EXT4_LABEL && found.uuid === id;
}

/** Gives the root of a new file system to its owner. */
export function handOver(mount: Fd, { owner, gid }: FastPartition): void {
  rmdirSync(`${mount.path}/lost+found`); // ext4 has it for repairs that nobody will make
  chownSync(mount.path, owner, gid);
  chmodSync(mount.path, 0o700);
}

/** The program that makes the file system. Throws `tool-missing`. */
export function makerOfExt4(): string {
  const maker = ext4Maker();
  if (maker !== undefined) return maker;
  const fix = '`apt install e2fsprogs`';
  const reason = 'the file system of a fast partition on a device is made with it';
  throw new PersonaError('tool-missing', { tool: 'mkfs.ext4', fix, reason });
}

/** The device of a partition in this boot: by the record, or, where a crash kept it from being written, by the mark. */
function deviceOf(partition: FastPartition): Zram | undefined {
  const { device } = partition;
  if (device !== undefined) return isThere(device) ? device : undefined;
  return allZram().find((one) => holds(one, partition));
}

/** Compressed memory: ext4 on a zram device of our own. */
export const zram: Medium = {
  bytesMin: 16 * 1024 * 1024,
  takesMemory: true,
  // Ordinary data takes less than half of its size there; what a side must keep is held against all of it.
  countsAs: 0.5,
  obstacle: () =>
    hasZram()
      ? undefined
      : { capability: 'zram devices (`modprobe zram`, or a kernel that has them)' },
  async open(partition, save) {
    const earlier = deviceOf(partition);
    // One that has our mark alone was never finished.
    if (earlier !== undefined && (readExt4(zramPath(earlier))?.bytes ?? 0) > 0) {
      const mount = await mountExt4Device(zramPath(earlier));
      return { mount, empty: false, opened: { device: earlier } };
    }
    if (earlier !== undefined) await removeZram(earlier);
    const maker = makerOfExt4();
    // Without a pause until it has our mark: a device of no name could be anybody's.
    const device = addZram();
    sizeZram(device, partition.bytes);
    markExt4(zramPath(device), partition.id, EXT4_LABEL);
    await save({ device });
    await makeExt4(maker, zramPath(device), partition.id, EXT4_LABEL, { journalBytes: 0 });
    const mount = await mountExt4Device(zramPath(device));
    try {
      handOver(mount, partition);
    } catch (error) {
      await mount.closeLater();
      throw error;
    }
    return { mount, empty: true, opened: { device } };
  },
  openedOf(partition, { type, source }) {
    const number = /^\/dev\/zram(\d+)$/.exec(source)?.[1];
    const device = type === 'ext4' && number !== undefined ? zramOf(Number(number)) : undefined;
    return device !== undefined && holds(device, partition) ? { device } : undefined;
  },
  memoryBytes(partition) {
    const device = deviceOf(partition);
    return device === undefined ? 0 : zramMemory(device);
  },
  async drop(partition) {
    const device = deviceOf(partition);
    if (device !== undefined) await removeZram(device);
  },
};
