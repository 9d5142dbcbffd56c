import { constants } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import { makeExt4, mountExt4 } from '../kernel/ext4.ts';
import { errorsText, witnessExt4 } from '../kernel/ext4-witness.ts';
import type { Fd } from '../kernel/fd.ts';
import { exists } from '../kernel/files.ts';
import {
  addFileSystemKey,
  encryptedUnder,
  encryptFolder,
  removeFileSystemKey,
} from '../kernel/fscrypt.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import { findLoop } from '../kernel/loop-find.ts';
import { openFile } from '../kernel/openat.ts';
import { enclaveLabel, makeContent, openContent, topOf } from './content.ts';
import type { Enclave } from './enclave-rows.ts';
import { type EnclaveRoom, volumeNames, volumeOf } from './room.ts';
import type { Sealing } from './sealing.ts';

const readWrite = constants.O_RDWR | constants.O_NOFOLLOW;

/** Of an open enclave this is one more mount of the same file system. */
async function mountVolume(room: EnclaveRoom, enclave: Enclave): Promise<Fd> {
  using file = openFile(volumeOf(room, enclave), readWrite);
  return (await mountExt4(file, volumeNames.fscrypt)).mount;
}

/** Works on the volume, mounted where nobody sees it. */
async function inVolume<T>(
  room: EnclaveRoom,
  enclave: Enclave,
  work: (top: Fd) => Promise<T>,
): Promise<T> {
  const mount = await mountVolume(room, enclave);
  try {
    using top = topOf(mount);
    return await work(top);
  } finally {
    await mount.closeLater();
  }
}

/** The key that a volume is encrypted under, from its own folder: known also when the record of the key is lost. */
function keyOf(top: Fd): string | undefined {
  using folder = openContent(top);
  return folder === undefined ? undefined : encryptedUnder(folder);
}

function giveKey(mount: Fd, image: string, identifier: string, key: LockedBytes): void {
  using top = topOf(mount);
  if (addFileSystemKey(top, key) !== identifier)
    throw new PersonaError('state-damaged', `the key of ${image} is another one`);
  if (keyOf(top) !== identifier)
    throw new PersonaError('state-damaged', `${image} is not encrypted as it was`);
}

/** An ext4 volume in which the kernel encrypts one folder. */
export const fscryptSealing: Sealing = {
  prepare: (image, { id }, maker) =>
    makeExt4(maker, image, id, enclaveLabel, { features: ['encrypt'] }),

  seal: (room, enclave, _, key) =>
    inVolume(room, enclave, async (top) => {
      const identifier = addFileSystemKey(top, key);
      try {
        await makeContent(top, enclave, (folder) => encryptFolder(folder, identifier));
      } finally {
        await removeFileSystemKey(top, identifier);
      }
      return identifier;
    }),

  async unlock(room, enclave, identifier, key) {
    const mount = await mountVolume(room, enclave);
    try {
      giveKey(mount, volumeOf(room, enclave), identifier, key);
      return mount;
    } catch (error) {
      await mount.closeLater();
      throw error;
    }
  },

  async lock(room, enclave, takeOff) {
    if (!(await fscryptSealing.isThere(room, enclave))) return false;
    return await inVolume(room, enclave, async (top) => {
      await takeOff();
      const identifier = keyOf(top);
      return identifier !== undefined && (await removeFileSystemKey(top, identifier)).busy;
    });
  },

  async isThere(room, enclave) {
    const image = volumeOf(room, enclave);
    if (!(await exists(image))) return false;
    using file = openFile(image, readWrite);
    const loop = await findLoop(file, volumeNames.fscrypt);
    await loop?.device.closeLater();
    return loop !== undefined;
  },

  witness(image, { id, bytes }) {
    const witness = witnessExt4(image, { uuid: id, label: enclaveLabel, bytes });
    const problem = witness.problem ?? errorsText(witness);
    return { errors: witness.errors, ...(problem === undefined ? {} : { problem }) };
  },
};
