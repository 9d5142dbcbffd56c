import { randomUUID } from 'node:crypto';
import { basename, join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import { statePlaces } from '../config/paths.ts';
import type { Settings } from '../config/settings.ts';
import { ext4Maker, makeExt4, readExt4 } from '../kernel/ext4.ts';
import { exists, moveDurably, removeFile } from '../kernel/files.ts';
import { ownBlocks, setAside } from '../kernel/own-blocks.ts';
import { readRecord, writeRecord } from '../kernel/records.ts';
import type { Space } from './space.ts';

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
/** Without a setting a volume is not larger: it takes its space away from everything else. */
const AUTOMATIC_MAX = 16 * GiB;
/** Below this an ext4 volume is mostly its own tables. */
const BYTES_MIN = 64 * MiB;
const LABEL = 'persona-uppers';
const RECORD = 'upper-volume';

/** Something that only a person can repair, with the command that does. */
export interface Problem {
  text: string;
  command: string;
}

/** The image of the upper volume in the state tree. */
export const upperImageOf = (state: string): string => join(state, statePlaces.upperImage);

/** Where it is made; what stands there after a crash is half made and nobody's. */
const newImageOf = (state: string): string => `${upperImageOf(state)}.new`;
const recordOf = (state: string): string => join(state, statePlaces.upperRecord);

/** The command that repairs a volume; safe while the daemon runs degraded, because nothing is mounted then. */
export const repairOf = (image: string): string => `e2fsck -f ${image}`;

/** How large a new volume is. Throws `no-space` when the state folder has no room for a useful one. */
async function bytesOf(state: string, settings: Settings['values'], space: Space): Promise<number> {
  const { availableBytes, keepFreeBytes } = space.usage();
  const spare = Math.max(0, availableBytes - keepFreeBytes);
  const wanted = settings['space.upper_volume'];
  const bytes = wanted > 0 ? wanted : Math.min(AUTOMATIC_MAX, spare / 2);
  const whole = Math.floor(bytes / MiB) * MiB;
  if (whole >= BYTES_MIN && whole <= spare) return whole;
  throw new PersonaError('no-space', {
    needed: `${formatSize(Math.max(whole, BYTES_MIN))} for the volume that holds what slots write, beside ${formatSize(keepFreeBytes)} kept free,`,
    free: formatSize(availableBytes),
    path: state,
  });
}

/** Removes what an interrupted making left. */
export async function sweepUpperImage(state: string): Promise<void> {
  await removeFile(newImageOf(state));
}

/**
 * Makes the image: whole under another name, durable, then renamed. Throws `tool-missing`, `no-space`, or what the tool says;
 * nothing is left then. Returns the bytes that the file system would not set aside.
 */
export async function makeUpperImage(
  state: string,
  settings: Settings['values'],
  space: Space,
): Promise<number> {
  const maker = ext4Maker();
  if (maker === undefined)
    throw new PersonaError('tool-missing', {
      tool: 'mkfs.ext4',
      fix: '`apt install e2fsprogs`, then restart the daemon',
      reason:
        'the state folder cannot hold what slots write, and a volume that can is made with it',
    });
  const wanted = await bytesOf(state, settings, space);
  const aside = newImageOf(state);
  const uuid = randomUUID();
  try {
    const bytes = await setAside(aside, wanted);
    await makeExt4(maker, aside, uuid, LABEL);
    const missing = await ownBlocks(aside, bytes);
    await moveDurably(aside, upperImageOf(state));
    await writeRecord(recordOf(state), RECORD, { uuid, bytes });
    return missing;
  } catch (error) {
    await removeFile(aside);
    throw error;
  }
}

/** Whether there is a volume, and whether it is the one of this state tree. Changes nothing but a record that a crash kept from being written. */
export async function findUpperImage(
  state: string,
): Promise<'absent' | 'there' | { problem: Problem }> {
  const image = upperImageOf(state);
  const record = await readRecord(recordOf(state), RECORD);
  if (!(await exists(image))) {
    if (record === undefined) return 'absent';
    const text = `the volume that holds what slots wrote is missing: ${image}. Put it back and restart the daemon`;
    return { problem: { text, command: `ls -l ${image}` } };
  }
  const found = readExt4(image);
  if (found === undefined) {
    const text = `${image}, which holds what slots wrote, is damaged: no file system is found in it. Repair it and restart the daemon`;
    return { problem: { text, command: repairOf(image) } };
  }
  if (found.label !== LABEL || (record !== undefined && record.uuid !== found.uuid)) {
    const text = `${image} is not the volume that was made for this state tree. Put the right one back and restart the daemon`;
    return { problem: { text, command: `blkid ${image}` } };
  }
  if (record === undefined)
    await writeRecord(recordOf(state), RECORD, { uuid: found.uuid, bytes: found.bytes });
  return 'there';
}

/** The last part of the image's path, by which loop devices of ours are told from others. */
export const upperImageName = basename(statePlaces.upperImage);
