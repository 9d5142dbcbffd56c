import { readFileSync } from 'node:fs';
import { declareInt } from './libc.ts';

/** CLOCK_BOOTTIME of linux/time.h: goes on while the machine sleeps, is never set. */
const CLOCK_BOOTTIME = 7;

const clockGettime = declareInt('clock_gettime', ['int', 'bytes']);

let boot: string | undefined;

/** The id of the running boot (a UUID): what carries another id died with its machine. */
export function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'ascii').trim();
  return boot;
}

/** Milliseconds since boot, sleep included: for deadlines and lease ages. */
export function boottimeMs(): number {
  const time = Buffer.alloc(16);
  clockGettime(CLOCK_BOOTTIME, time);
  return Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1e6;
}

/** Wall time, milliseconds since 1970: for records people read; never for deadlines. */
export function wallMs(): number {
  return Date.now();
}
