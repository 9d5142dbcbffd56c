import { closeSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { answer, begin, FUSE_INIT, HEADER_BYTES, mountFuse, REQUEST_BYTES } from './hung-mount.ts';
import { run } from './needs.ts';

// Numbers of linux/fuse.h.
const LOOKUP = 1;
const GETATTR = 3;
const MKDIR = 9;
const RMDIR = 11;
const OPENDIR = 27;
const READDIR = 28;
/** What is forgotten: nobody waits for an answer. */
const SILENT: readonly number[] = [2, 42];
const [ENOENT, ENOSYS] = [2, 38];
/** struct fuse_mkdir_in, before the name. */
const MKDIR_BYTES = 8;
const nothing = Buffer.alloc(0);

/** struct fuse_attr of a folder that is everybody's. */
function attributesOf(inode: bigint): Buffer {
  const attributes = Buffer.alloc(88);
  attributes.writeBigUInt64LE(inode, 0);
  attributes.writeUInt32LE(0o40777, 60);
  attributes.writeUInt32LE(2, 64);
  return attributes;
}

/** struct fuse_entry_out. */
function entryOf(inode: bigint): Buffer {
  const entry = Buffer.alloc(40);
  entry.writeBigUInt64LE(inode, 0);
  return Buffer.concat([entry, attributesOf(inode)]);
}

/**
 * Mounts a FUSE file system with one folder in it, where empty folders can be made and removed, until the test ends. Its server is this process:
 * nothing here may wait for it.
 */
export function serveFolders(at: string, name: string): { release(): void } {
  const device = mountFuse(at);
  const inodes = new Map([[name, 2n]]);
  let last = 2n;
  const nameIn = (request: Buffer, start: number): string =>
    request.toString('latin1', start, request.indexOf(0, start));

  /** What answers a request, or the number of an error. */
  function bodyFor(opcode: number, request: Buffer): Buffer | number {
    if (opcode === GETATTR)
      return Buffer.concat([Buffer.alloc(16), attributesOf(request.readBigUInt64LE(16))]);
    if (opcode === OPENDIR) return Buffer.alloc(16);
    if (opcode === READDIR) return nothing;
    if (opcode === LOOKUP) {
      const inode = inodes.get(nameIn(request, HEADER_BYTES));
      return inode === undefined ? ENOENT : entryOf(inode);
    }
    if (opcode === MKDIR) {
      last += 1n;
      inodes.set(nameIn(request, HEADER_BYTES + MKDIR_BYTES), last);
      return entryOf(last);
    }
    if (opcode !== RMDIR) return ENOSYS;
    return inodes.delete(nameIn(request, HEADER_BYTES)) ? nothing : ENOENT;
  }

  const serve = async (): Promise<void> => {
    const request = Buffer.alloc(REQUEST_BYTES);
    for (;;) {
      await promisify(read)(device, request, 0, REQUEST_BYTES, null);
      const opcode = request.readUInt32LE(4);
      if (opcode === FUSE_INIT) begin(device, request);
      if (opcode === FUSE_INIT || SILENT.includes(opcode)) continue;
      const body = bodyFor(opcode, request);
      if (typeof body === 'number') answer(device, request, nothing, body);
      else answer(device, request, body);
    }
  };
  // It fails when the file system is taken off.
  const served = serve().catch(() => undefined);
  return {
    release: () => {
      run('umount', '-f', '-l', at);
      void served.then(() => closeSync(device));
    },
  };
}
