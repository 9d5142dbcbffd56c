import { read } from 'node:fs';
import { promisify } from 'node:util';
import { answer, begin, FUSE_INIT, mountFuse, REQUEST_BYTES } from './hung-mount.ts';

// A program of its own: the server of a FUSE file system in which every name is an empty file, and the closing of none is answered. Who
// becomes another program with such a file open, which is not passed on, hangs on the way. It forks nothing, as that would
// hang too, and ends with its input: then all go on.

// Numbers of linux/fuse.h.
const FUSE_LOOKUP = 1;
const FUSE_GETATTR = 3;
const FUSE_OPEN = 14;
const FUSE_FLUSH = 25;
/** What is forgotten or released: nobody waits for an answer. */
const SILENT: readonly number[] = [2, 18, 42];
const ENOSYS = 38;
const [ROOT, FILE] = [1n, 2n];

/** struct fuse_attr. */
function attributesOf(inode: bigint): Buffer {
  const attributes = Buffer.alloc(88);
  attributes.writeBigUInt64LE(inode, 0);
  attributes.writeUInt32LE(inode === ROOT ? 0o40755 : 0o100644, 60);
  attributes.writeUInt32LE(1, 64);
  return attributes;
}

/** struct fuse_entry_out, fuse_attr_out, fuse_open_out. */
function bodyFor(opcode: number, request: Buffer): Buffer | undefined {
  if (opcode === FUSE_OPEN) return Buffer.alloc(16);
  if (opcode === FUSE_GETATTR)
    return Buffer.concat([Buffer.alloc(16), attributesOf(request.readBigUInt64LE(16))]);
  if (opcode !== FUSE_LOOKUP) return undefined;
  const entry = Buffer.alloc(40);
  entry.writeBigUInt64LE(FILE, 0);
  return Buffer.concat([entry, attributesOf(FILE)]);
}

function serve(device: number, request: Buffer): void {
  const opcode = request.readUInt32LE(4);
  const body = bodyFor(opcode, request);
  if (opcode === FUSE_INIT) begin(device, request);
  else if (opcode === FUSE_FLUSH) console.log('hangs');
  else if (body !== undefined) answer(device, request, body);
  else if (!SILENT.includes(opcode)) answer(device, request, Buffer.alloc(0), ENOSYS);
}

process.stdin.on('end', () => process.kill(process.pid, 'SIGKILL')).resume();
const device = mountFuse(process.argv[2] ?? '');
console.log('ready');
const request = Buffer.alloc(REQUEST_BYTES);
for (;;) {
  await promisify(read)(device, request, 0, REQUEST_BYTES, null);
  serve(device, request);
}
