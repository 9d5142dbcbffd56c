import { bootId } from '../kernel/clock.ts';
import { failedWith } from '../kernel/errno.ts';
import { exists, namesOf } from '../kernel/files.ts';
import { unmount } from '../kernel/mounts.ts';
import { makePrivatePlace } from '../kernel/private-place.ts';
import { readRecord } from '../kernel/records.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { takeBlocks } from './blocks.ts';
import {
  changeKey,
  type Enclave,
  markOpened,
  putEnclave,
  readEnclave,
  readEnclaves,
} from './enclave-rows.ts';
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

/** A start has no longer for the blocks of all volumes; what is missing then is taken when its enclave is opened. */
const blocksMs = 30_000;

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
 * Brings rows and machine together after recovery: what a reboot has closed is closed, what is shown without a row is taken off, and
 * where an older database was put back the record of an enclave tells what opens it, or, of one that no row names, that it is there.
 * @param busy names that an unfinished change holds: they are left to it.
 */
export async function settleEnclaves(room: EnclaveRoom, busy: ReadonlySet<string>): Promise<void> {
  const known = await readEnclaves(room.store);
  const until = performance.now() + blocksMs;
  for (const enclave of known.filter(({ name }) => !busy.has(name)))
    try {
      await settleOne(room, enclave);
      if (performance.now() < until) await takeBlocks(room, enclave);
    } catch (err) {
      room.problems.set(enclave.name, (err as Error).message);
      room.log.error({ err, enclave: enclave.name }, 'cannot look after an enclave, going on');
    }
  const folders = namesOf(foldersOf(room), 'folder');
  for (const id of folders.filter((id) => known.every((one) => one.id !== id)))
    try {
      await takeUp(room, id, busy);
    } catch (err) {
      const folder = folderOf(room, id);
      room.log.error({ err, folder }, 'cannot look at a folder of an enclave, going on');
    }
}

async function recorded(room: EnclaveRoom, id: string): Promise<Enclave | undefined> {
  const record = (await readRecord(recordOf(room, id), enclaveRecord)) as Enclave | undefined;
  return record?.id === id ? record : undefined;
}

/** What opens an enclave is written beside its key whenever that is wrapped anew, so never older than the row. */
async function settleKey(room: EnclaveRoom, { name, id, gid, way, ...row }: Enclave) {
  const record = await recorded(room, id);
  if (record === undefined) return;
  if (record.key === row.key && record.credential === row.credential) return;
  await room.store.commit((tx) => changeKey(tx, { ...record, name, gid, way }));
  room.log.warn({ enclave: name, key: record.key }, 'what opens an enclave was told by its record');
}

/** Takes it off; who still held a file of it when an earlier daemon closed it is found out by that. */
async function hide(room: EnclaveRoom, enclave: Enclave): Promise<void> {
  if (await hideVolume(room, enclave)) room.held.add(enclave.name);
}

async function settleOne(room: EnclaveRoom, enclave: Enclave): Promise<void> {
  const { name, opened } = enclave;
  const shown = isShown(room, name);
  if (opened !== undefined && (opened.boot !== bootId() || !shown))
    await room.store.commit((tx) => markOpened(tx, name, undefined));
  if (opened === undefined || !shown) await hide(room, enclave);
  await settleKey(room, enclave);
}

async function isWhole(room: EnclaveRoom, enclave: Enclave): Promise<boolean> {
  return (await exists(keyFileOf(room, enclave.id))) && (await exists(volumeOf(room, enclave)));
}

async function takeUp(room: EnclaveRoom, id: string, busy: ReadonlySet<string>): Promise<void> {
  const { store, log, problems } = room;
  const folder = folderOf(room, id);
  const record = await recorded(room, id);
  if (record !== undefined && busy.has(record.name)) return;
  if (record === undefined || !(await isWhole(room, record))) {
    log.warn({ folder }, 'no row names this folder of an enclave: left as it is');
    return;
  }
  const { name } = record;
  if ((await readEnclave(store, name)) !== undefined) {
    const problem = `another enclave of this name is in ${folder}; once this one is removed the next start of the daemon takes that one up`;
    problems.set(name, [problems.get(name), problem].filter(Boolean).join('; '));
    log.warn({ folder, enclave: name }, 'the name of this enclave has another one: left as it is');
    return;
  }
  await store.commit((tx) => putEnclave(tx, record, null));
  if (!isShown(room, name)) await hide(room, record);
  log.warn({ enclave: name }, 'an enclave without a row was taken up by its own record');
}
