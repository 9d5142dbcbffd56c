import { closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { failedWith, KernelError, withDetail } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

// Numbers of linux/loop.h.
const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
/** struct loop_config: fd, block size, struct loop_info64 (232), 8 reserved words. */
const CONFIG_SIZE = 304;
const INFO = 8;
const LOOP_MAJOR = 7;
/** How our own devices are known, beside the file they show: the name field of their status. */
export const LOOP_LABEL = 'persona';
const S_IFBLK = 0o060000;

/** Tries before giving up: another program may take the free number between our two calls. */
const TRIES = 50;
/** Pause between tries, milliseconds; grows by itself each time up to 10 times. */
const PAUSE_MS = 2;

const control = declareInt('ioctl', ['int', 'u64', 'u64']);
const configure = declareInt('ioctl', ['int', 'u64', 'bytes']);
const mknod = declareInt('mknod', ['text', 'uint', 'u64']);

export interface LoopOptions {
  /** Byte offset and length of the image inside the file; length 0 means to its end. */
  offset?: number;
  size?: number;
  writable?: boolean;
  /** Bypass the page cache of the backing file, where its file system can. */
  directIo?: boolean;
}

/** A loop device that frees itself when the last user (this descriptor, or a mount of it) is gone. */
export interface Loop {
  device: Fd;
  path: string;
  number: number;
}

function freeNumber(): number {
  const door = openSync('/dev/loop-control', constants.O_RDWR);
  try {
    return control(door, LOOP_CTL_GET_FREE, 0);
  } finally {
    closeSync(door);
  }
}

/** Opens the device of this number, whose node is made where it is missing. */
export function openDevice(number: number, writable: boolean): Fd {
  const path = `/dev/loop${number}`;
  const mode = writable ? constants.O_RDWR : constants.O_RDONLY;
  try {
    return new Fd(openSync(path, mode), path);
  } catch (error) {
    // Without udev (containers) a number beyond the ready-made ones has no node yet.
    if (!failedWith(error, 'ENOENT')) throw error;
    mkdirSync('/dev', { recursive: true });
    const minorHigh = BigInt(number >> 8) << 20n;
    mknod(path, S_IFBLK | 0o660, minorHigh | BigInt((LOOP_MAJOR << 8) | (number & 0xff)));
    return new Fd(openSync(path, mode), path);
  }
}

function configOf(image: Fd, options: LoopOptions): Buffer {
  const config = Buffer.alloc(CONFIG_SIZE);
  config.writeUInt32LE(image.number, 0);
  config.writeUInt32LE(4096, 4);
  config.writeBigUInt64LE(BigInt(options.offset ?? 0), INFO + 24);
  config.writeBigUInt64LE(BigInt(options.size ?? 0), INFO + 32);
  const readOnly = options.writable === true ? 0 : LO_FLAGS_READ_ONLY;
  const direct = options.directIo === true ? LO_FLAGS_DIRECT_IO : 0;
  config.writeUInt32LE(readOnly | LO_FLAGS_AUTOCLEAR | direct, INFO + 52);
  config.write(LOOP_LABEL, INFO + 56, 'latin1');
  return config;
}

/**
 * Attaches `image` to a free loop device by one LOOP_CONFIGURE: read-only unless asked, freed by itself.
 * The image is passed by descriptor, never opened again by path. Waits at most about a second for a free device (EBUSY, EAGAIN).
 */
export async function attachLoop(image: Fd, options: LoopOptions = {}): Promise<Loop> {
  const config = configOf(image, options);
  for (let attempt = 1; ; attempt += 1) {
    const number = freeNumber();
    let device: Fd | undefined;
    try {
      device = openDevice(number, options.writable === true);
      await configure.later(device.number, LOOP_CONFIGURE, config);
      return { device, path: `/dev/loop${number}`, number };
    } catch (error) {
      await device?.closeLater();
      const retry = failedWith(error, 'EBUSY', 'EAGAIN', 'ENXIO', 'EEXIST');
      if (!retry || attempt >= TRIES) {
        throw error instanceof KernelError
          ? withDetail(error, `${image.what} as /dev/loop${number} (try ${attempt})`)
          : error;
      }
      await pause(PAUSE_MS * Math.min(attempt, 10));
    }
  }
}
