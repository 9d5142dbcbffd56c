import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { ext4Identity } from './ext4.ts';

// struct ext4_super_block of fs/ext4/ext4.h, from the begin of the device.
const SUPER = 1024;
const HEAD = 2048;
const ERROR_COUNT = SUPER + 0x194;
const LAST_ERROR_TIME = SUPER + 0x1cc;
const LAST_ERROR_FUNCTION = SUPER + 0x1e0;
const FUNCTION_SIZE = 32;

/** What an ext4 image must say of itself. */
export interface Ext4Expected {
  uuid: string;
  label: string;
  /** Length of its file. */
  bytes: number;
}

/** What was seen of an image, whether it is mounted or not. */
export interface Ext4Witness {
  /** Why it is not the one that is expected; absent when it is. */
  problem?: string;
  /** Errors that the kernel has noted in it since it was made or last repaired. */
  errors: number;
  lastErrorMs?: number;
  /** Where in the kernel the last one was noted. */
  lastErrorIn?: string;
}

function differs(head: Buffer, length: number, expected: Ext4Expected): string | undefined {
  const found = ext4Identity(head);
  if (found === undefined) return 'it holds no ext4 file system';
  if (found.uuid !== expected.uuid || found.label !== expected.label)
    return 'it holds another file system than the one that was made in it';
  if (length !== expected.bytes || found.bytes > length)
    return `its file is ${length} bytes long, and was made with ${expected.bytes}`;
  return undefined;
}

/**
 * Looks whether the file is the ext4 image that it should be, and what errors the kernel has noted in its superblock: 2 KiB are read, nothing
 * of what it holds. Throws the error of open(2) or read(2).
 */
export function witnessExt4(path: string, expected: Ext4Expected): Ext4Witness {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const head = Buffer.alloc(HEAD);
    readSync(file, head, 0, HEAD, 0);
    const stat = fstatSync(file);
    const problem = stat.isFile() ? differs(head, stat.size, expected) : 'it is no plain file';
    if (problem !== undefined) return { problem, errors: 0 };
    const errors = head.readUInt32LE(ERROR_COUNT);
    if (errors === 0) return { errors };
    const name = head.toString('latin1', LAST_ERROR_FUNCTION, LAST_ERROR_FUNCTION + FUNCTION_SIZE);
    return {
      errors,
      lastErrorMs: head.readUInt32LE(LAST_ERROR_TIME) * 1000,
      lastErrorIn: name.replace(/\0.*$/, '').replace(/[^\w.]/g, '?'),
    };
  } finally {
    closeSync(file);
  }
}

/** What the errors of a witness mean, in words; undefined when there are none. */
export function errorsText({ errors, lastErrorMs = 0, lastErrorIn }: Ext4Witness) {
  if (errors === 0) return undefined;
  const last = `${new Date(lastErrorMs).toISOString()} in ${lastErrorIn}`;
  return `the kernel has found ${errors} error${errors === 1 ? '' : 's'} in its file system (the last one ${last}) and may take no more writes; \`e2fsck -f\` repairs it while it is not mounted`;
}
