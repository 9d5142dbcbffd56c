import { bootId } from '../kernel/clock.ts';
import { failedWith } from '../kernel/errno.ts';
import { exists, namesOf } from '../kernel/files.ts';
import { unmount } from '../kernel/mounts.ts';
import { makePrivatePlace } from '../kernel/private-place.ts';
import { readRecord } from '../kernel/records.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { type Enclave, markOpened, putEnclave, readEnclave, readEnclaves } from './enclave-rows.ts';
import {
  anchorsOf,
  type EnclaveRoom,
  folderOf,
  foldersOf,
  keyFileOf,
  recordOf,
  volumeOf,
} from './room.ts';
import { enclaveRecord } from './tasks/create.ts';
import { hideVolume, isShown } from './volume.ts';

/** Makes the place where enclaves are shown one from which nothing spreads. Before anything is shown. */
export function openPlaces(room: EnclaveRoom): void {
  makePrivatePlace(anchorsOf(room));
}

/** Takes that place off again, unless an enclave is open in it. */
export async function closePlaces(room: EnclaveRoom): Promise<void> {
  if (!statMount(anchorsOf(room)).isMountRoot) return;
  try {
    await unmount(anchorsOf(room));
  } catch (error) {
    if (!failedWith(error, 'EBUSY')) throw error;
  }
}

/**
 * Brings rows and machine together after recovery: what a reboot has closed is closed, what is shown without a row is taken off, and an
 * enclave that no row names (an older database was put back) is taken up by its own record.
 * @param busy names that an unfinished change holds: they are left to it.
 */
export async function settleEnclaves(room: EnclaveRoom, busy: ReadonlySet<string>): Promise<void> {
  const known = await readEnclaves(room.store);
  for (const enclave of known.filter(({ name }) => !busy.has(name)))
    try {
      await settleOne(room, enclave);
    } catch (err) {
      room.problems.set(enclave.name, (err as Error).message);
      room.log.error({ err, enclave: enclave.name }, 'cannot look after an enclave, going on');
    }
  const folders = namesOf(foldersOf(room), 'folder');
  for (const id of folders) if (known.every((one) => one.id !== id)) await takeUp(room, id, busy);
}

async function settleOne(room: EnclaveRoom, enclave: Enclave): Promise<void> {
  const { name, opened } = enclave;
  const shown = isShown(room, name);
  if (opened !== undefined && (opened.boot !== bootId() || !shown))
    await room.store.commit((tx) => markOpened(tx, name, undefined));
  if (opened === undefined || !shown) await hideVolume(room, enclave);
}

async function isWhole(room: EnclaveRoom, enclave: Enclave): Promise<boolean> {
  return (await exists(keyFileOf(room, enclave.id))) && (await exists(volumeOf(room, enclave)));
}

async function takeUp(room: EnclaveRoom, id: string, busy: ReadonlySet<string>): Promise<void> {
  const { store, log } = room;
  const record = (await readRecord(recordOf(room, id), enclaveRecord)) as Enclave | undefined;
  if (record !== undefined && busy.has(record.name)) return;
  const free = record !== undefined && (await readEnclave(store, record.name)) === undefined;
  if (record?.id !== id || !free || !(await isWhole(room, record))) {
    log.warn(
      { folder: folderOf(room, id) },
      'no row names this folder of an enclave: left as it is',
    );
    return;
  }
  await store.commit((tx) => putEnclave(tx, record, null));
  if (!isShown(room, record.name)) await hideVolume(room, record);
  log.warn({ enclave: record.name }, 'an enclave without a row was taken up by its own record');
}
