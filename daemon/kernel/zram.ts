import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { bootId } from './clock.ts';
import { failedWith } from './errno.ts';

const CONTROL = '/sys/class/zram-control';
const BLOCK = '/sys/block';

/** Somebody else may have the device open for a moment: udev looks into each that appears. */
const REMOVE_MS = 5_000;
const PAUSE_MS = 20;

/** A zram device of ours. Numbers are reused; the sequence number of a disk is not, in one boot. */
export type Zram = { boot: string; number: number; sequence: string };

export const zramPath = ({ number }: Pick<Zram, 'number'>): string => `/dev/zram${number}`;

const attribute = ({ number }: Pick<Zram, 'number'>, name: string) =>
  `${BLOCK}/zram${number}/${name}`;

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'ascii').trim();
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENODEV', 'ENXIO')) return undefined;
    throw error;
  }
}

/** True where devices can be added while the kernel runs. */
export function hasZram(): boolean {
  // Not by reading: that adds one.
  return existsSync(`${CONTROL}/hot_add`);
}

/** Device `number` as it is now; undefined when there is none. */
export function zramOf(number: number): Zram | undefined {
  const sequence = read(attribute({ number }, 'diskseq'));
  return sequence === undefined ? undefined : { boot: bootId(), number, sequence };
}

/** All zram devices, whoever made them. */
export function allZram(): Zram[] {
  return readdirSync(BLOCK).flatMap((name) => {
    const number = Number(/^zram(\d+)$/.exec(name)?.[1] ?? Number.NaN);
    return Number.isNaN(number) ? [] : (zramOf(number) ?? []);
  });
}

/** True when the device is still that very one. */
export function isThere(device: Zram): boolean {
  return device.boot === bootId() && zramOf(device.number)?.sequence === device.sequence;
}

/** Adds a device of no size: it holds nothing yet. */
export function addZram(): Zram {
  const number = Number(readFileSync(`${CONTROL}/hot_add`, 'ascii'));
  const device = Number.isSafeInteger(number) ? zramOf(number) : undefined;
  if (device === undefined) throw new Error(`the kernel gave no zram device, but ${number}`);
  return device;
}

/** Gives a new device its size. It takes memory only for what is written, compressed, and at most its size. */
export function sizeZram(device: Zram, bytes: number): void {
  writeFileSync(attribute(device, 'disksize'), String(bytes));
}

/** Memory that the device takes now. */
export function zramMemory(device: Zram): number {
  // orig_data_size compr_data_size mem_used_total ... (Documentation/admin-guide/blockdev/zram.rst)
  const fields = read(attribute(device, 'mm_stat'))?.split(/\s+/) ?? [];
  return Number(fields[2] ?? 0);
}

/** Takes the device away with all it holds; one that is another by now is left alone. Throws EBUSY when it is mounted. Safe to repeat. */
export async function removeZram(device: Zram): Promise<void> {
  const until = performance.now() + REMOVE_MS;
  while (isThere(device)) {
    try {
      writeFileSync(`${CONTROL}/hot_remove`, String(device.number));
      return;
    } catch (error) {
      if (failedWith(error, 'ENODEV')) return;
      if (!failedWith(error, 'EBUSY') || performance.now() >= until) throw error;
      await pause(PAUSE_MS);
    }
  }
}
