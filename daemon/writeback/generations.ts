import { type Applied, applyGeneration, KEPT } from './apply.ts';
import type { Disk } from './disk.ts';
import {
  blobsOf,
  type Generation,
  nameOf,
  numberOf,
  readGeneration,
  writeGeneration,
} from './manifest.ts';

/** A generation that is being written. */
const PART = 'generation.part';
/** The record of a generation that the folder has. Nothing else in the box counts while it is there. */
const DONE = 'applied';
/** So many are kept: one, and the one before it. */
const KEEP = 2;

const numbersIn = (names: readonly string[]): number[] =>
  names.flatMap((name) => numberOf(name) ?? []).sort((a, b) => b - a);

/** Removes one name if it is there. */
function drop(disk: Disk, name: string): void {
  if (disk.boxNames()?.includes(name)) disk.removeInBox(name);
}

/** Makes a generation count. Its files are in the box, and their bytes are synced; when this returns it outlives a crash. */
export function commitGeneration(disk: Disk, generation: Generation): void {
  drop(disk, PART);
  disk.writeBox(PART, writeGeneration(generation));
  disk.moveInBox(PART, nameOf(generation.number));
  disk.syncBox();
}

/** Removes what no generation that is kept needs. @param taken files that the next one will need. */
export function pruneBox(disk: Disk, taken: ReadonlySet<string>): void {
  const names = disk.boxNames() ?? [];
  const numbers = numbersIn(names);
  const kept = numbers.slice(0, KEEP);
  const read = kept.flatMap((one) => readGeneration(disk.readBox(nameOf(one))) ?? []);
  // One that cannot be read is left alone, with all that it may need.
  if (read.length < kept.length) return;
  const needed = blobsOf(read);
  for (const name of names) {
    const number = numberOf(name);
    const isOld = number !== undefined && !kept.includes(number);
    const isBlob = name.startsWith('file-') && !needed.has(name) && !taken.has(name);
    if (isOld || isBlob) disk.removeInBox(name);
  }
}

/** What a crash, or the end of an application, has left to be written. */
export type Recovered = Applied & {
  /** Absent: there was nothing to write. */
  generation?: number;
  takenMs?: number;
};

/** True when the files that it names are whole. */
const isWhole = (disk: Disk, generation: Generation): boolean =>
  [...blobsOf([generation])].every(
    ([blob, digest]) => disk.inodeInBox(blob) !== undefined && disk.digestInBox(blob) === digest,
  );

/**
 * Brings the last complete generation into the folder and removes the box. May be repeated after a crash at any point. Throws when there are
 * generations and none is complete: nothing is removed then.
 */
export function recoverBox(disk: Disk): Recovered {
  const names = disk.boxNames();
  const nothing = { kept: [], stayed: [] };
  if (names === undefined) return nothing;
  const found: Recovered = names.includes(DONE) ? nothing : applyNewest(disk, numbersIn(names));
  clear(disk);
  return found;
}

function applyNewest(disk: Disk, numbers: readonly number[]): Recovered {
  if (numbers.length === 0) return { kept: [], stayed: [] };
  for (const number of numbers) {
    const generation = readGeneration(disk.readBox(nameOf(number)));
    if (generation === undefined || !isWhole(disk, generation)) continue;
    const applied = applyGeneration(disk, generation);
    disk.moveInBox(nameOf(number), DONE);
    disk.syncBox();
    return { ...applied, generation: number, takenMs: generation.takenMs };
  }
  throw new Error(`none of the generations ${numbers.join(', ')} is complete`);
}

/** Removes everything but what was kept; the mark that it may go is removed last. */
function clear(disk: Disk): void {
  const names = disk.boxNames() ?? [];
  for (const name of names) if (name !== DONE && !name.startsWith(KEPT)) disk.removeInBox(name);
  disk.syncBox();
  drop(disk, DONE);
  disk.syncBox();
  disk.dropBox();
}
