/**
 * The few messages of the kernel's FUSE protocol (include/uapi/linux/fuse.h) that a file system of one single file
 * needs. Numbers are little-endian, as on every machine that the tests run on.
 */

/** Operations that are answered; every other one gets ENOSYS. */
export const opcodes = {
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  release: 18,
  fsync: 20,
  init: 26,
  destroy: 38,
  batchForget: 42,
} as const;

export const inHeaderBytes = 40;
const outHeaderBytes = 16;
/** struct fuse_read_in and fuse_write_in are of one size; the data of a write follows. */
export const ioBytes = 40;
/** Largest write the kernel may send: 32 pages, its own default. */
export const writeBytesMax = 128 * 1024;

/** The version spoken here: the kernel falls back to it. */
const major = 7;
const minor = 31;
/** FUSE_ASYNC_READ | FUSE_BIG_WRITES. */
const initFlags = (1 << 0) | (1 << 5);
/** FOPEN_DIRECT_IO: the kernel keeps no pages of the file, every write arrives before it is done. */
const openDirect = 1;
const rootNode = 1n;

export interface FuseRequest {
  opcode: number;
  unique: bigint;
}

/** The head of a request. */
export function requestOf(bytes: Buffer): FuseRequest {
  return { opcode: bytes.readUInt32LE(4), unique: bytes.readBigUInt64LE(8) };
}

/** Place and length of a read or write. */
export function rangeOf(bytes: Buffer): { offset: number; length: number } {
  const at = inHeaderBytes;
  return { offset: Number(bytes.readBigUInt64LE(at + 8)), length: bytes.readUInt32LE(at + 16) };
}

/** An answer: `errno` is 0, or the number of an error and then nothing follows. */
export function answer(unique: bigint, errno: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(outHeaderBytes);
  head.writeUInt32LE(outHeaderBytes + body.length, 0);
  head.writeInt32LE(-errno, 4);
  head.writeBigUInt64LE(unique, 8);
  return Buffer.concat([head, body]);
}

/** struct fuse_init_out. */
export function initBody(request: Buffer): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(major, 0);
  body.writeUInt32LE(minor, 4);
  body.writeUInt32LE(request.readUInt32LE(inHeaderBytes + 8), 8); // its read-ahead
  body.writeUInt32LE(initFlags, 12);
  body.writeUInt16LE(64, 16); // requests at once
  body.writeUInt16LE(48, 18); // it calls itself congested from here
  body.writeUInt32LE(writeBytesMax, 20);
  body.writeUInt32LE(1, 24); // times in ns
  return body;
}

/** struct fuse_attr_out of the one file: a regular file of root's. */
export function attrBody(size: number): Buffer {
  const body = Buffer.alloc(16 + 88);
  body.writeBigUInt64LE(3600n, 0); // seconds the kernel may keep this
  const attr = body.subarray(16);
  attr.writeBigUInt64LE(rootNode, 0);
  attr.writeBigUInt64LE(BigInt(size), 8);
  attr.writeBigUInt64LE(BigInt(Math.ceil(size / 512)), 16);
  attr.writeUInt32LE(0o100600, 60);
  attr.writeUInt32LE(1, 64); // links
  attr.writeUInt32LE(4096, 80); // block size
  return body;
}

/** struct fuse_open_out. */
export function openBody(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(openDirect, 8);
  return body;
}

/** struct fuse_write_out. */
export function writtenBody(bytes: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(bytes, 0);
  return body;
}
