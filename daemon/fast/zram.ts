import { makeExt4, markExt4, mountExt4Device } from '../kernel/ext4.ts';
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
import { EXT4_LABEL, handOver, isFinished, isMarked, makerOfExt4 } from './ext4-ground.ts';
import type { Medium } from './medium.ts';
import type { FastPartition } from './partition.ts';

/** The device of a partition in this boot: by the record, or, where a crash kept it from being written, by the mark. */
function deviceOf(partition: FastPartition): Zram | undefined {
  const { device } = partition;
  if (device !== undefined) return isThere(device) ? device : undefined;
  return allZram().find((one) => isMarked(zramPath(one), partition));
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
    if (earlier !== undefined && isFinished(zramPath(earlier))) {
      const mount = await mountExt4Device(zramPath(earlier), 'given-back');
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
    const mount = await mountExt4Device(zramPath(device), 'given-back');
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
    return device !== undefined && isMarked(zramPath(device), partition) ? { device } : undefined;
  },
  memoryBytes(partition) {
    const device = deviceOf(partition);
    return device === undefined ? 0 : zramMemory(device);
  },
  keepUp: async () => undefined,
  async drop(partition) {
    const device = deviceOf(partition);
    if (device !== undefined) await removeZram(device);
  },
};
