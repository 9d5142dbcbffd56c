import { chmodSync, chownSync, rmdirSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import { ext4Maker, readExt4 } from '../kernel/ext4.ts';
import type { Fd } from '../kernel/fd.ts';
import type { FastPartition } from './partition.ts';

/** Label of the ext4 file systems of fast partitions; each has the partition's id as its UUID. */
export const EXT4_LABEL = 'persona-fast';

/** True when the device or image has our mark for this partition. */
export function isMarked(path: string, { id }: FastPartition): boolean {
  const found = readExt4(path);
  return found?.label === EXT4_LABEL && found.uuid === id;
}

/** True when a file system is on it: one that has our mark alone was never finished. */
export const isFinished = (path: string): boolean => (readExt4(path)?.bytes ?? 0) > 0;

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
