import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Request } from '../../daemon/api/rooms.ts';
import { Secret } from '../../daemon/config/secret.ts';
import { makeExt4, mountExt4 } from '../../daemon/kernel/ext4.ts';
import { Fd } from '../../daemon/kernel/fd.ts';
import { addFileSystemKey } from '../../daemon/kernel/fscrypt.ts';
import { LockedBytes } from '../../daemon/kernel/locked-memory.ts';
import { OPEN, openBeneath } from '../../daemon/kernel/openat.ts';
import { run } from './needs.ts';
import { rootRequest } from './silent-daemon.ts';

/** Locked bytes that hold this. */
export function lockedBytes(content: string | Uint8Array): LockedBytes {
  const bytes = Buffer.from(content);
  const locked = new LockedBytes(bytes.length);
  locked.bytes().set(bytes);
  return locked;
}

/** Root, who sends `secret` with whatever ticket, and has it as every credential. */
export function requestWith(secret: string): Request {
  const given = () => new Secret(lockedBytes(secret));
  return { ...rootRequest, secret: given, credential: given };
}

/** An ext4 volume that can encrypt, mounted nowhere; `work` gets its mount and its top folder. */
export async function inVolume<T>(
  folder: string,
  work: (top: Fd, mount: Fd) => Promise<T>,
): Promise<T> {
  const image = join(folder, 'fscrypt.ext4');
  run('truncate', '-s', '16M', image);
  const uuid = '00000000-0000-4000-8000-000000000000';
  await makeExt4('/usr/sbin/mkfs.ext4', image, uuid, 'test', { features: ['encrypt'] });
  using file = new Fd(openSync(image, 'r+'), image);
  const { mount } = await mountExt4(file, 'fscrypt.ext4');
  try {
    using top = openBeneath(mount, '.', { flags: OPEN.folder });
    return await work(top, mount);
  } finally {
    await mount.closeLater();
  }
}

/** Why this machine cannot encrypt folders of an ext4 volume, found out by doing. */
export const lacksFscrypt: string | undefined = await (async () => {
  if (process.getuid?.() !== 0) return 'needs root';
  const folder = mkdtempSync(join(tmpdir(), 'personad-fscrypt-'));
  try {
    using key = new LockedBytes(64);
    return await inVolume(folder, async (top) => {
      addFileSystemKey(top, key);
      return undefined;
    });
  } catch (error) {
    return `needs ext4 with fscrypt: ${(error as Error).message.split('\n')[0]}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
})();

/** What a test of enclaves needs from the machine. */
export const fscryptNeeds = {
  root: true,
  tools: ['mkfs.ext4'],
  other: (): string | undefined => lacksFscrypt,
};
