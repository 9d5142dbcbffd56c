import { randomBytes } from 'node:crypto';
import { constants, statSync } from 'node:fs';
import {
  type Mapping,
  mappingsNamed,
  pathOfMapping,
  removeMapping,
} from '../kernel/device-mapper.ts';
import { makeExt4, mountExt4Device } from '../kernel/ext4.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import { findLoop, keepBlocks } from '../kernel/loop-find.ts';
import { attachLoop } from '../kernel/loops.ts';
import { formatLuks, luksIdentity, openLuks } from '../kernel/luks.ts';
import { openFile } from '../kernel/openat.ts';
import { enclaveLabel, makeContent, topOf } from './content.ts';
import type { Enclave } from './enclave-rows.ts';
import { type EnclaveRoom, volumeNames, volumeOf } from './room.ts';
import type { Sealing } from './sealing.ts';

const readWrite = constants.O_RDWR | constants.O_NOFOLLOW;

/** Mappings of an enclave begin so: also after a crash it is known whose they are. */
const namesOf = ({ id }: Enclave): string => `personad-enclave-${id}-`;

/** The mapping that shows the plain content; made where there is none. One that was closed while it was in use is none. */
async function mappingOf(room: EnclaveRoom, enclave: Enclave, key: LockedBytes): Promise<Mapping> {
  const prefix = namesOf(enclave);
  const live = () => mappingsNamed(prefix).find((one) => one.live);
  const there = live();
  if (there !== undefined) return there;
  using file = openFile(volumeOf(room, enclave), readWrite);
  const loop =
    (await findLoop(file, volumeNames.luks2)) ?? (await attachLoop(file, { writable: true }));
  try {
    keepBlocks(loop);
    await openLuks(loop.path, `${prefix}${randomBytes(4).toString('hex')}`, key);
  } finally {
    await loop.device.closeLater(); // the mapping keeps it; without one it frees itself
  }
  const made = live();
  if (made === undefined) throw new Error('cryptsetup has opened a volume, and it is not there');
  return made;
}

/** A LUKS2 volume, with an ext4 file system inside. */
export const luksSealing: Sealing = {
  prepare: () => Promise.resolve(), // the file system lies inside of what is encrypted

  async seal(room, enclave, maker, key) {
    const { id } = enclave;
    const nothingShown = () => Promise.resolve();
    await luksSealing.lock(room, enclave, nothingShown);
    await formatLuks(volumeOf(room, enclave), { uuid: id, label: enclaveLabel }, key);
    try {
      const path = pathOfMapping(await mappingOf(room, enclave, key));
      await makeExt4(maker, path, id, enclaveLabel);
      const mount = await mountExt4Device(path, 'kept');
      try {
        using top = topOf(mount);
        await makeContent(top, enclave);
      } finally {
        await mount.closeLater();
      }
    } finally {
      await luksSealing.lock(room, enclave, nothingShown);
    }
    return id;
  },

  async unlock(room, enclave, _, key) {
    return await mountExt4Device(pathOfMapping(await mappingOf(room, enclave, key)), 'kept');
  },

  async lock(_, enclave, takeOff) {
    await takeOff();
    let held = false;
    for (const mapping of mappingsNamed(namesOf(enclave)))
      held = (await removeMapping(mapping)) || held;
    return held;
  },

  isThere: (_, enclave) => Promise.resolve(mappingsNamed(namesOf(enclave)).length > 0),

  witness(image, { id, bytes }) {
    const found = luksIdentity(image);
    const { size } = statSync(image);
    const problem =
      found === undefined
        ? 'it holds no LUKS2 volume'
        : found.uuid !== id || found.label !== enclaveLabel
          ? 'it holds another volume than the one that was made in it'
          : size !== bytes
            ? `its file is ${size} bytes long, and was made with ${bytes}`
            : undefined;
    return { errors: 0, ...(problem === undefined ? {} : { problem }) };
  },
};
