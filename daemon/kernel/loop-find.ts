import { fstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { LOOP_LABEL, type Loop, openDevice } from './loops.ts';

// Numbers of linux/loop.h, and offsets in struct loop_info64.
const LOOP_GET_STATUS64 = 0x4c05;
const INFO_SIZE = 232;
const DEVICE = 0;
const INODE = 8;
const FILE_NAME = 56;
const FILE_NAME_SIZE = 64;

const SYS_BLOCK = '/sys/block';

/** The kernel gives a device back shortly after the last mount of it has gone. */
const DETACHED_MS = 5_000;
const LOOK_MS = 10;

const getStatus = declareInt('ioctl', ['int', 'u64', 'bytes']);

/** True when the device shows this very file (device and inode) and was attached by `attachLoop`. */
function shows(device: Fd, image: Fd): boolean {
  const info = Buffer.alloc(INFO_SIZE);
  try {
    getStatus(device.number, LOOP_GET_STATUS64, info);
  } catch (error) {
    if (failedWith(error, 'ENXIO')) return false; // nothing is attached to it any more
    throw error;
  }
  const { dev, ino } = fstatSync(image.number, { bigint: true });
  const label = info.toString('latin1', FILE_NAME, FILE_NAME + FILE_NAME_SIZE).replace(/\0.*$/, '');
  return (
    label === LOOP_LABEL &&
    info.readBigUInt64LE(DEVICE) === dev &&
    info.readBigUInt64LE(INODE) === ino
  );
}

/** The name that the kernel shows for what is attached: as the process saw it that attached it. */
function backingName(loop: string): string | undefined {
  try {
    const path = readFileSync(`${SYS_BLOCK}/${loop}/loop/backing_file`, 'utf8').trimEnd();
    return basename(path.replace(/ \(deleted\)$/, ''));
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENXIO', 'ENODEV')) return undefined;
    throw error;
  }
}

/**
 * The loop device that shows this very file already, in whatever namespace it is mounted: by the file's device and inode and our own
 * label, never by number. Undefined when there is none. The device is open, so it stays what it is until the caller closes it.
 * @param name the last part of the file's path, to leave devices of others alone.
 */
export async function findLoop(image: Fd, name: string): Promise<Loop | undefined> {
  for (const entry of readdirSync(SYS_BLOCK)) {
    const number = Number(/^loop(\d+)$/.exec(entry)?.[1] ?? Number.NaN);
    if (Number.isNaN(number) || backingName(entry) !== name) continue;
    const device = openDevice(number, false);
    if (shows(device, image)) return { device, path: `/dev/loop${number}`, number };
    await device.closeLater();
  }
  return undefined;
}

/** Waits until no loop device shows the file any more; false when one goes on, in whatever namespace it is mounted. @param name as above. */
export async function isDetached(image: Fd, name: string): Promise<boolean> {
  for (const until = performance.now() + DETACHED_MS; ; await pause(LOOK_MS)) {
    const loop = await findLoop(image, name);
    await loop?.device.closeLater();
    if (loop === undefined) return true;
    if (performance.now() > until) return false;
  }
}

/** Makes the device drop requests to give blocks back: its file keeps what was set aside for it. False when the kernel refuses. */
export function keepBlocks({ number }: Loop): boolean {
  try {
    writeFileSync(`${SYS_BLOCK}/loop${number}/queue/discard_max_bytes`, '0');
    return true;
  } catch {
    return false; // /sys may be read-only in a container
  }
}

/** True when what is read and written through the device passes by the page cache of the file below it. */
export function isDirect({ number }: Pick<Loop, 'number'>): boolean {
  try {
    return readFileSync(`${SYS_BLOCK}/loop${number}/loop/dio`, 'utf8').startsWith('1');
  } catch {
    return false; // nothing is attached to it, or /sys is hidden
  }
}
