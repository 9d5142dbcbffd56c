import { readdirSync, rmdirSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import { failedWith } from '../kernel/errno.ts';
import { ensureFolder, exists, namesOf, removeFile, syncFolder } from '../kernel/files.ts';
import { clearTree, removeAnchor, shownTree } from '../kernel/flip.ts';
import { readRecord, writeRecord } from '../kernel/records.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { replacedFiles, replacedFolders, restorePlaces, restoreRecord } from './restored.ts';
import { dropUnpacked } from './unpack.ts';

/** What an exchange works with. */
export interface ExchangeParts {
  paths: Pick<Paths, 'state' | 'run'>;
  log: { info(facts: object, message: string): void };
  /** A named point at which the tests may kill the daemon. */
  fault(point: string): Promise<void>;
}

/** Slots that show a tree, whether or not a daemon knows them. */
export function shownSlots({ run }: Pick<Paths, 'run'>): string[] {
  const anchors = join(run, runPlaces.slots);
  return namesOf(anchors, 'folder').filter((name) => shownTree(join(anchors, name)) !== undefined);
}

/** Takes the trees off all slots, and their anchors. Programs inside keep what they hold until they end. */
async function endSlots({ run }: Pick<Paths, 'run'>): Promise<void> {
  const anchors = join(run, runPlaces.slots);
  for (const name of namesOf(anchors, 'folder')) {
    await (await clearTree(join(anchors, name)))?.closeLater();
    await removeAnchor(join(anchors, name));
    await removeTree(join(anchors, name));
  }
}

/** Where the old state is put: in quarantine, but for what slots hold on a volume of their own. */
function asidePlaces(state: string, takenMs: number): { folder: string; slots: string } {
  const folder = join(state, statePlaces.quarantine, `${takenMs}-replaced`);
  const own = statMount(join(state, statePlaces.slots)).isMountRoot;
  const slots = own
    ? join(state, statePlaces.slots, `.replaced-${takenMs}`)
    : join(folder, statePlaces.slots);
  return { folder, slots };
}

/**
 * When a checked backup waits, puts the state aside and the backup in its place; else removes what a restore left half done.
 * Each step is a rename: a start after a kill at any point goes on where it was cut off, and nothing reads the
 * state in between. For a start of the daemon, with the lock held and before the database is opened.
 */
export async function takeUpRestored(parts: ExchangeParts): Promise<void> {
  const { paths, log, fault } = parts;
  const places = restorePlaces(paths.state);
  const ready = await readRecord(places.ready, restoreRecord);
  if (ready === undefined) {
    if ((await exists(places.folder)) || (await exists(places.slots)))
      await dropUnpacked(paths.state);
    return;
  }
  if (!(await exists(places.slots)) && (await exists(join(places.fresh, statePlaces.database))))
    throw new PersonaError(
      'state-damaged',
      `${places.slots} is not there, which is a part of the backup that is being restored`,
    );
  const aside = asidePlaces(paths.state, Number(ready.takenMs));
  await endSlots(paths);
  await fault('restore:slots-ended');
  if (!(await exists(places.aside))) {
    await putAside(paths.state, aside, fault);
    await writeRecord(places.aside, restoreRecord, { ...ready });
  }
  await fault('restore:aside');
  await putInPlace(paths.state, fault);
  await removeFile(places.ready);
  await fault('restore:in-place');
  await dropUnpacked(paths.state);
  log.info({ aside }, 'the state is that of a backup; what was before is kept');
}

/** Until its record is written everything in the places of the state is old, however often this runs. */
async function putAside(
  state: string,
  aside: { folder: string; slots: string },
  fault: ExchangeParts['fault'],
): Promise<void> {
  await ensureFolder(aside.folder);
  await ensureFolder(aside.slots);
  for (const name of [...replacedFiles, ...replacedFolders]) {
    await moveAside(join(state, name), join(aside.folder, name));
    await fault(`restore:aside:${name}`);
  }
  const slots = join(state, statePlaces.slots);
  for (const name of namesOf(slots, 'folder')) {
    if (name.startsWith('.') || name === 'lost+found') continue;
    await moveAside(join(slots, name), join(aside.slots, name));
    await fault('restore:aside:slot');
  }
  for (const folder of [state, slots, aside.folder, aside.slots]) await syncFolder(folder);
}

/** A start before this one may have moved it already, and made an empty folder in its place. */
async function moveAside(from: string, to: string): Promise<void> {
  if (!(await exists(from))) return;
  if (await exists(to)) clearMade(from);
  else await rename(from, to);
}

/** Removes a folder that a start has made in a place it found empty; anything in it is an error. */
function clearMade(folder: string): void {
  for (const path of [join(folder, basename(statePlaces.trustedKeys)), folder]) {
    try {
      rmdirSync(path);
    } catch (error) {
      if (!failedWith(error, 'ENOENT', 'ENOTDIR')) throw error;
    }
  }
}

/** Slots first, the database last. What is in its place already is not there any more to be moved. */
async function putInPlace(state: string, fault: ExchangeParts['fault']): Promise<void> {
  const { fresh, slots } = restorePlaces(state);
  const move = async (from: string, to: string): Promise<void> => {
    clearMade(to);
    await rename(from, to);
    await fault('restore:moved');
  };
  for (const name of namesOf(slots, 'folder'))
    await move(join(slots, name), join(state, statePlaces.slots, name));
  await syncFolder(join(state, statePlaces.slots));
  const left = (await exists(fresh)) ? readdirSync(fresh) : [];
  for (const name of [...replacedFolders, ...replacedFiles].filter((one) => left.includes(one)))
    await move(join(fresh, name), join(state, name));
  // Where they went to and where they came from, before the record goes that would move them.
  for (const folder of [state, fresh, slots]) if (await exists(folder)) await syncFolder(folder);
}
