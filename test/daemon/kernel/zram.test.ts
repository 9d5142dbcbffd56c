import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';
import {
  addZram,
  hasZram,
  isThere,
  removeZram,
  sizeZram,
  zramMemory,
  zramOf,
  zramPath,
} from '../../../daemon/kernel/zram.ts';
import { when } from '../../support/needs.ts';

const other = () => (hasZram() ? undefined : 'needs zram, which this kernel has not');

when(test, { root: true, other })(
  'a device is known by its sequence, not its number',
  async (t) => {
    const device = addZram();
    t.teardown(() => removeZram(device));
    t.true(isThere(device));
    t.deepEqual(zramOf(device.number), device);
    sizeZram(device, 2 ** 22);
    t.is(readFileSync(`/sys/block/zram${device.number}/disksize`, 'ascii').trim(), `${2 ** 22}`);
    t.true(zramMemory(device) < 2 ** 20);
    // One that only has our number, or is of another boot, is somebody else's.
    for (const strange of [
      { ...device, sequence: '1' },
      { ...device, boot: 'another' },
    ]) {
      t.false(isThere(strange));
      await removeZram(strange);
      t.true(existsSync(zramPath(device)));
    }
    await removeZram(device);
    t.false(isThere(device));
    await removeZram(device);
  },
);
