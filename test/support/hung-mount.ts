import { spawnSync } from 'node:child_process';
import { closeSync, openSync, read, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { run } from './needs.ts';

const readFrom = promisify(read);

/** Mounts a FUSE file system whose server is this process. Returns the server's end. */
export function mountFuse(at: string): number {
  const device = openSync('/dev/fuse', 'r+');
  const options = 'fd=3,rootmode=40755,user_id=0,group_id=0,allow_other';
  const mounted = spawnSync(
    '/bin/mount',
    ['-i', '-t', 'fuse', '-o', options, 'personad-test', at],
    {
      stdio: ['ignore', 'pipe', 'pipe', device],
      encoding: 'utf8',
    },
  );
  if (mounted.status !== 0) {
    closeSync(device);
    throw new Error(mounted.stderr);
  }
  return device;
}

/** A FUSE file system whose server never takes a request: whoever waits for it can be killed. */
export function mountHung(at: string): { release(): void } {
  const device = mountFuse(at);
  return {
    release() {
      // Closing the server's end fails every waiting request.
      closeSync(device);
      run('umount', '-l', at);
    },
  };
}

// Numbers of linux/fuse.h.
const FUSE_LOOKUP = 1;
export const FUSE_INIT = 26;
/** struct fuse_in_header; of a look-up the name follows. */
export const HEADER_BYTES = 40;
/** Else who looks for one name waits for the answer about another. */
const FUSE_PARALLEL_DIROPS = 1 << 18;
export const REQUEST_BYTES = 1 << 17;

/** Answers a request, by struct fuse_out_header and what follows. */
export function answer(device: number, request: Buffer, body: Buffer, errno = 0): void {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(header.length + body.length, 0);
  header.writeInt32LE(-errno, 4);
  request.copy(header, 8, 8, 16);
  writeSync(device, Buffer.concat([header, body]));
}

/** Answers the first request, by struct fuse_init_out of version 7.31. */
export function begin(device: number, request: Buffer): void {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(31, 4);
  body.writeUInt32LE(FUSE_PARALLEL_DIROPS, 12);
  body.writeUInt32LE(4096, 20);
  answer(device, request, body);
}

/** A FUSE file system whose server takes what it is asked and keeps the answer: nothing ends who waits for that. */
export async function mountMute(
  at: string,
): Promise<{ asked(name?: string): Promise<void>; release(): void }> {
  const device = mountFuse(at);
  const request = Buffer.alloc(REQUEST_BYTES);
  const next = async (): Promise<number> => {
    await readFrom(device, request, 0, REQUEST_BYTES, null);
    return request.readUInt32LE(4); // opcode of struct fuse_in_header
  };
  const release = (): void => {
    // Forced: every request that waits, and the server's own read, fails.
    run('umount', '-f', '-l', at);
    closeSync(device);
  };
  try {
    if ((await next()) !== FUSE_INIT) throw new Error('FUSE begins with something else');
    begin(device, request);
  } catch (error) {
    release();
    throw error;
  }
  const names = new Set<string>();
  return {
    /** Somebody has asked for this name, and waits from now on; without a name, somebody for anything: that may be anybody on the machine. */
    async asked(name) {
      while (name === undefined || !names.delete(name)) {
        const isLookup = (await next()) === FUSE_LOOKUP;
        if (name === undefined) return;
        const end = request.indexOf(0, HEADER_BYTES);
        if (isLookup) names.add(request.toString('latin1', HEADER_BYTES, end));
      }
    },
    release,
  };
}

/** Why none can be made here. */
export const hasFuse = (): string | undefined => {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return undefined;
  } catch {
    return 'needs /dev/fuse';
  }
};
