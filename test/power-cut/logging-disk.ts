/**
 * A program: serves one file by FUSE, and writes down every write and every flush that reaches it. A loop device on
 * that file is a disk whose power can be cut at any moment of its past. One request at a time, in the order of the
 * kernel: the log is the truth.
 *
 * Arguments: the image that holds the bytes, the log. The FUSE device is descriptor 3; its mount is the caller's work.
 * Ends when the file system is unmounted.
 */

import { fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import {
  answer,
  attrBody,
  inHeaderBytes,
  initBody,
  ioBytes,
  opcodes,
  openBody,
  rangeOf,
  requestOf,
  writeBytesMax,
  writtenBody,
} from './fuse-wire.ts';
import { appendEntry } from './write-log.ts';

const fuse = 3;
const [, , image = '', log = ''] = process.argv;
const disk = openSync(image, 'r+');
const journal = openSync(log, 'ax');
const { size } = fstatSync(disk);
const { ENOSYS, ENODEV, EINTR, EAGAIN, ENOENT } = constants.errno;

/** The answer to a request; undefined where the kernel wants none. */
function serve(bytes: Buffer): Buffer | undefined {
  const { opcode, unique } = requestOf(bytes);
  switch (opcode) {
    case opcodes.forget:
    case opcodes.batchForget:
      return undefined;
    case opcodes.init:
      return answer(unique, 0, initBody(bytes));
    case opcodes.getattr:
    case opcodes.setattr:
      return answer(unique, 0, attrBody(size));
    case opcodes.open:
      return answer(unique, 0, openBody());
    case opcodes.release:
    case opcodes.destroy:
      return answer(unique, 0);
    case opcodes.read: {
      const { offset, length } = rangeOf(bytes);
      const piece = Buffer.alloc(length);
      return answer(unique, 0, piece.subarray(0, readSync(disk, piece, 0, length, offset)));
    }
    case opcodes.write: {
      const { offset, length } = rangeOf(bytes);
      const data = bytes.subarray(inHeaderBytes + ioBytes, inHeaderBytes + ioBytes + length);
      appendEntry(journal, 'write', offset, data);
      writeSync(disk, data, 0, length, offset);
      return answer(unique, 0, writtenBody(length));
    }
    case opcodes.fsync:
      appendEntry(journal, 'flush');
      return answer(unique, 0);
    default:
      return answer(unique, ENOSYS);
  }
}

const failed = (error: unknown, ...numbers: number[]) =>
  numbers.includes(-((error as { errno?: number }).errno ?? 0));

const request = Buffer.alloc(inHeaderBytes + ioBytes + writeBytesMax + 4096);
for (;;) {
  try {
    const reply = serve(request.subarray(0, readSync(fuse, request)));
    if (reply !== undefined) writeSync(fuse, reply);
  } catch (error) {
    if (failed(error, ENODEV)) break; // unmounted
    // A request was taken back while it was read or answered.
    if (!failed(error, EINTR, EAGAIN, ENOENT)) throw error;
  }
}
