import type { Change, Witness } from './delta.ts';
import type { Disk, Seen } from './disk.ts';
import type { Generation } from './manifest.ts';

/** What is put together in the box before it gets its name in the folder. */
const ASIDE = 'aside';

/** What others have changed meanwhile is moved to names that begin so. */
export const KEPT = 'kept-';
/** Bytes of its own name that such a name ends with: a name has 255 in all. */
const KEPT_NAME_MAX = 200;

/** What became of a generation. */
export interface Applied {
  /** Names in the box of what others had written at names that were to be replaced. */
  kept: string[];
  /** Names that were to go and stayed: others have changed them, or put something into them. */
  stayed: string[];
}

const above = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

const isWhat = (seen: Seen, was: Witness | null): boolean =>
  was !== null &&
  seen.type === was.type &&
  seen.inode === was.inode &&
  (seen.type === 'folder' || (seen.size === was.size && seen.mtimeNs === was.mtimeNs));

/** Makes the folder what the generation says, durably. May be done any number of times, also after any part of it was done. */
export function applyGeneration(disk: Disk, generation: Generation): Applied {
  const applied: Applied = { kept: [], stayed: [] };
  const touched = new Set<string>();
  generation.changes.forEach((change, index) => {
    const { path } = change;
    touched.add(above(path));
    if (change.type === 'gone') {
      takeAway(disk, change, applied);
      return;
    }
    if (change.type === 'folder') touched.add(path);
    const seen = disk.look(path);
    if (seen !== undefined && isDone(disk, change, seen)) return;
    if (seen !== undefined && !mayReplace(change, seen)) {
      const name = `${KEPT}${generation.takenMs}-${index}-${last(path).slice(0, KEPT_NAME_MAX)}`;
      disk.moveOut(path, name);
      applied.kept.push(name);
    }
    makeParents(disk, above(path), touched);
    put(disk, change);
  });
  for (const path of touched) if (disk.look(path)?.type === 'folder') disk.syncFolder(path);
  disk.syncBox();
  return applied;
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
  if (change.type === 'file') return seen.inode === disk.inodeInBox(change.blob);
  if (change.type === 'link') return seen.inode === disk.look(change.to)?.inode;
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

function put(disk: Disk, change: Change): void {
  const { path, type } = change;
  if (type === 'folder') {
    if (disk.look(path) === undefined) disk.makeFolder(path, change.mode);
    else disk.setMode(path, change.mode);
    return;
  }
  if (disk.inodeInBox(ASIDE) !== undefined) disk.removeInBox(ASIDE);
  if (type === 'file') disk.linkInBox(change.blob, ASIDE);
  else if (type === 'link') disk.linkOut(change.to, ASIDE);
  else if (type === 'symlink') disk.symlinkInBox(change.target, ASIDE);
  disk.moveIn(ASIDE, path);
}
