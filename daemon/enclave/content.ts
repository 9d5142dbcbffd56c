import { chmodSync, chownSync, readdirSync } from 'node:fs';
import type { Fd } from '../kernel/fd.ts';
import { syncFileSystem } from '../kernel/files.ts';
import { makeFolderIn, OPEN, openBeneath, unlinkIn } from '../kernel/openat.ts';
import type { Enclave } from './enclave-rows.ts';

/** The name that the volume of every enclave bears. */
export const enclaveLabel = 'persona-enclave';
/** The one folder of a volume that is shown. The top of an ext4 file system cannot be encrypted by itself. */
export const contentName = 'data';
/** Whose alone an open enclave is. */
export const ownerOnly = 0o700;

/** The top folder of a file system that is mounted. */
export function topOf(mount: Fd): Fd {
  return openBeneath(mount, '.', { flags: OPEN.folder });
}

/** The folder of the content; undefined while there is none. */
export function openContent(top: Fd): Fd | undefined {
  if (!readdirSync(top.path).includes(contentName)) return undefined;
  return openBeneath(top, contentName, { flags: OPEN.folder });
}

/** Makes the folder of the content anew, empty, and its owner's. `encrypt` gets it while it is still root's. */
export async function makeContent(
  top: Fd,
  { owner, gid }: Pick<Enclave, 'owner' | 'gid'>,
  encrypt: (folder: Fd) => void = () => undefined,
): Promise<void> {
  chmodSync(top.path, ownerOnly);
  if (readdirSync(top.path).includes(contentName)) unlinkIn(top, contentName, true);
  makeFolderIn(top, contentName, ownerOnly);
  using folder = openBeneath(top, contentName, { flags: OPEN.folder });
  encrypt(folder);
  chownSync(folder.path, owner, gid);
  await syncFileSystem(`${top.path}/.`);
}
