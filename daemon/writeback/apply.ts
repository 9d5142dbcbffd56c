import { failedWith } from '../kernel/errno.ts';
import type { Change, Witness } from './delta.ts';
import type { Disk, Seen } from './disk.ts';
import { blobOf, type Generation } from './manifest.ts';

/** What is put together in the box before it gets its name in the folder. */
const ASIDE = 'aside';

/** What others have changed meanwhile is moved to names that begin so. */
export const KEPT = 'kept-';
/** Bytes of its own name that such a name ends with: a name has 255 in all. */
const KEPT_NAME_MAX = 200;

/** What became of a generation. */
export interface Applied {
  /** Names in the box: of what others had written at names that were to be replaced, and of what may not be written at its name. */
  kept: string[];
  /** Names that stayed as they were: others have changed them, or put something into them, or they are not the user's to change. */
  stayed: string[];
}

const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

const isWhat = (seen: Seen, was: Witness | null): boolean =>
  was !== null &&
  seen.type === was.type &&
  seen.inode === was.inode &&
  (seen.type === 'folder' || (seen.size === was.size && seen.mtimeNs === was.mtimeNs));

/** What applying a generation leaves to be done at its end. */
interface Work {
  applied: Applied;
  /** Folders to be synced. */
  touched: Set<string>;
  /** Folders that their owner may write in for now, and the mode that each is to have. */
  modes: Map<string, number>;
}

/** What the owner needs to change what is in a folder. */
const OPEN_MODE = 0o700;

const mayNot = (error: unknown): boolean => failedWith(error, 'EACCES', 'EPERM');

/** Others have something at a name that is not to be replaced, or on the way there (a mount, a file, a link), or have taken away what was needed. */
const isInTheWay = (error: unknown): boolean =>
  failedWith(error, 'EXDEV', 'EBUSY', 'EEXIST', 'ENOENT', 'ENOTDIR', 'ELOOP');

/** What is at a name, as far as it is ours to change. */
function lookFor(disk: Disk, path: string): Seen | undefined {
  try {
    return disk.look(path);
  } catch (error) {
    if (!isInTheWay(error)) throw error;
    return undefined;
  }
}

/** Makes the folder what the generation says, durably. May be done any number of times, also after any part of it was done. */
export function applyGeneration(disk: Disk, generation: Generation): Applied {
  const applied: Applied = { kept: [], stayed: [] };
  const work: Work = { applied, touched: new Set(), modes: new Map() };
  generation.changes.forEach((change, index) => {
    const aside = `${KEPT}${generation.takenMs}-${index}`;
    try {
      applyOpened(disk, change, aside, work);
    } catch (error) {
      // In memory all is the user's own, on the disk a folder may be somebody else's.
      if (!mayNot(error) && !isInTheWay(error)) throw error;
      const blob = blobOf(change);
      if (blob === undefined) applied.stayed.push(change.path);
      else keepBlob(disk, blob, namedFor(`${aside}-new`, change.path), applied);
    }
  });
  const isFolder = (path: string) => lookFor(disk, path)?.type === 'folder';
  const folders = [...work.touched, ...work.modes.keys()].filter(isFolder);
  // The deepest first: nobody may go through some of them then.
  for (const [path, mode] of [...work.modes].sort(([a], [b]) => (a < b ? 1 : -1)))
    if (isFolder(path)) disk.setMode(path, mode);
  for (const path of new Set(folders)) disk.syncFolder(path);
  disk.syncBox();
  return applied;
}

const namedFor = (aside: string, path: string): string =>
  `${aside}-${last(path).slice(0, KEPT_NAME_MAX)}`;

function keepBlob(disk: Disk, blob: string, name: string, { kept }: Applied): void {
  if (disk.inodeInBox(name) === undefined) disk.linkInBox(blob, name);
  kept.push(name);
}

/** Applies a change; in a folder that its owner has closed to himself, it is open until the end. */
function applyOpened(disk: Disk, change: Change, aside: string, work: Work): void {
  try {
    applyChange(disk, change, aside, work);
  } catch (error) {
    if (!mayNot(error)) throw error;
    const folder = above(change.path);
    const { type, mode = 0 } = disk.look(folder) ?? {};
    if (type !== 'folder' || (mode & OPEN_MODE) === OPEN_MODE) throw error;
    disk.setMode(folder, mode | OPEN_MODE);
    if (!work.modes.has(folder)) work.modes.set(folder, mode);
    applyChange(disk, change, aside, work);
  }
}

/** @param aside the beginning of a name in the box for what others have written there. */
function applyChange(disk: Disk, change: Change, aside: string, work: Work): void {
  const { path } = change;
  work.touched.add(above(path));
  if (change.type === 'gone') {
    takeAway(disk, change, work.applied);
    return;
  }
  if (change.type === 'folder') work.touched.add(path);
  const seen = disk.look(path);
  if (seen !== undefined && isDone(disk, change, seen)) return;
  if (seen !== undefined && !mayReplace(change, seen)) {
    const name = namedFor(aside, path);
    disk.moveOut(path, name);
    work.applied.kept.push(name);
  }
  makeParents(disk, above(path), work.touched);
  put(disk, change, work.modes);
}

function takeAway(disk: Disk, { path, was }: Change, { stayed }: Applied): void {
  const seen = disk.look(path);
  if (seen === undefined) return;
  if (!isWhat(seen, was)) stayed.push(path);
  else if (seen.type !== 'folder') disk.remove(path);
  else {
    disk.removeFolder(path);
    if (disk.look(path) !== undefined) stayed.push(path);
  }
}

/** True when the name is as it is to be: an earlier try has come so far. */
function isDone(disk: Disk, change: Change, seen: Seen): boolean {
  const blob = blobOf(change);
  if (blob !== undefined && seen.inode === disk.inodeInBox(blob)) return true;
  if (change.type === 'link') return seen.inode === lookFor(disk, change.to)?.inode;
  if (change.type === 'symlink') return seen.type === 'symlink' && seen.target === change.target;
  return seen.type === 'folder' && change.type === 'folder' && seen.mode === change.mode;
}

/** Nobody else has written there since it was read; of folders only the mode is set. */
const mayReplace = (change: Change, seen: Seen): boolean =>
  change.type === 'folder'
    ? seen.type === 'folder'
    : seen.type !== 'folder' && isWhat(seen, change.was);

/** Folders that somebody has removed meanwhile. */
function makeParents(disk: Disk, path: string, touched: Set<string>): void {
  if (path === '' || disk.look(path) !== undefined) return;
  makeParents(disk, above(path), touched);
  disk.makeFolder(path, 0o700);
  touched.add(above(path)).add(path);
}

function put(disk: Disk, change: Change, modes: Work['modes']): void {
  const { path, type } = change;
  if (type === 'folder') {
    const mode = change.mode | OPEN_MODE;
    if (disk.look(path) === undefined) disk.makeFolder(path, mode);
    else disk.setMode(path, mode);
    if (mode !== change.mode) modes.set(path, change.mode);
    return;
  }
  if (disk.inodeInBox(ASIDE) !== undefined) disk.removeInBox(ASIDE);
  const blob = blobOf(change);
  const isThere = type === 'link' && lookFor(disk, change.to)?.type === 'file';
  if (type === 'link' && (isThere || blob === undefined)) disk.linkOut(change.to, ASIDE);
  else if (blob !== undefined) disk.linkInBox(blob, ASIDE);
  else if (type === 'symlink') disk.symlinkInBox(change.target, ASIDE);
  disk.moveIn(ASIDE, path);
}
