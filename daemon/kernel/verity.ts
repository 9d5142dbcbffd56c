import { setTimeout as pause } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { openFile } from './openat.ts';

// fs-verity of linux/fsverity.h: a file that is sealed can never be written again, and the kernel checks every block that
// is read of it against the digest of the whole.

/** struct fsverity_enable_arg: version, hash algorithm, block size, salt and signature with their lengths, reserved words. */
const ENABLE_SIZE = 128;
/** struct fsverity_digest without its bytes: algorithm and size, 16 bits each. */
const DIGEST_HEAD = 4;
const SHA256 = 1;
const SHA256_BYTES = 32;
/** The page size of nearly every machine; a kernel with larger ones and older than 6.3 seals nothing. */
const BLOCK = 4096;

/** asm-generic/ioctl.h */
const WRITE = 1n;
const READ = 2n;
const ioc = (direction: bigint, nr: number, size: number): bigint =>
  (direction << 30n) | (BigInt(size) << 16n) | (BigInt('f'.charCodeAt(0)) << 8n) | BigInt(nr);
export const FS_IOC_ENABLE_VERITY = ioc(WRITE, 133, ENABLE_SIZE);
export const FS_IOC_MEASURE_VERITY = ioc(READ | WRITE, 134, DIGEST_HEAD);

const ioctl = declareInt('ioctl', ['int', 'u64', 'bytes']);

/** The kernel, or the file system, has no fs-verity; or not with blocks of this size. */
const ABSENT = ['EOPNOTSUPP', 'ENOTTY', 'EINVAL'];

/** A child that was just started holds our descriptors until it runs its program: it may hold the writer's. */
const TRIES = 50;
const PAUSE_MS = 20;

function enableArgument(): Buffer {
  const argument = Buffer.alloc(ENABLE_SIZE);
  argument.writeUInt32LE(1, 0); // version
  argument.writeUInt32LE(SHA256, 4);
  argument.writeUInt32LE(BLOCK, 8);
  return argument;
}

/** Seals the open file. It is open for reading only, here and everywhere. Throws KernelError; EEXIST when it is sealed already. */
export async function enableVerity(file: Fd): Promise<void> {
  await ioctl.later(file.number, FS_IOC_ENABLE_VERITY, enableArgument());
}

/** The digest by which the kernel checks what is read of the open file, `sha256:HEX`; undefined when it is not sealed so. */
export function measureVerity(file: Fd): string | undefined {
  const digest = Buffer.alloc(DIGEST_HEAD + SHA256_BYTES);
  digest.writeUInt16LE(SHA256_BYTES, 2);
  try {
    ioctl(file.number, FS_IOC_MEASURE_VERITY, digest);
  } catch (error) {
    // Sealed with a longer digest is none of ours either.
    if (failedWith(error, 'ENODATA', 'EOVERFLOW', ...ABSENT)) return undefined;
    throw error;
  }
  if (digest.readUInt16LE(0) !== SHA256 || digest.readUInt16LE(2) !== SHA256_BYTES)
    return undefined;
  return `sha256:${digest.toString('hex', DIGEST_HEAD)}`;
}

/**
 * Seals the file at `path` (a file of ours that nobody has open for writing) where that can be done, and returns its digest;
 * undefined where it cannot. Safe to repeat. Reads the whole file. Throws KernelError, for example ENOSPC.
 */
export async function sealFile(path: string): Promise<string | undefined> {
  using file = openFile(path);
  for (let tries = 0; ; tries += 1) {
    try {
      await enableVerity(file);
    } catch (error) {
      if (failedWith(error, ...ABSENT)) return undefined;
      if (failedWith(error, 'ETXTBSY') && tries < TRIES) {
        await pause(PAUSE_MS);
        continue;
      }
      if (!failedWith(error, 'EEXIST')) throw error;
    }
    return measureVerity(file);
  }
}
