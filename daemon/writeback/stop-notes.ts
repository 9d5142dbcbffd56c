import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import { groupId, readHierarchies } from '../kernel/cgroups.ts';
import { lockFile, namesOf } from '../kernel/files.ts';
import { freezeFilesOf, isStopped, letGo } from '../kernel/freezer.ts';
import type { ProgramGroup } from './program-groups.ts';

/** A group that a writer may have stopped. Its inode id is never used twice within a boot, and a note ends with that. */
type Note = Pick<ProgramGroup, 'version' | 'folder'> & { id: string };

/** Who may stand still when daemon and writer are killed together: a file for each session, root's alone, in a folder of the run tree. */
export class StopNotes {
  readonly #folder: string;

  constructor(run: string) {
    this.#folder = join(run, runPlaces.stops);
  }

  /** Before a writer is told of these groups of a session. None: it stops nobody any more. */
  write(name: string, groups: readonly ProgramGroup[]): void {
    const path = join(this.#folder, name);
    const notes = groups.flatMap(({ version, folder }): Note[] => {
      const id = groupId(folder);
      return id === undefined ? [] : [{ version, folder, id: String(id) }];
    });
    if (notes.length === 0) {
      rmSync(path, { force: true });
      return;
    }
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    writeFileSync(path, JSON.stringify(notes), { mode: 0o600 });
  }

  /** Lets everybody go on who still stands still. A line for each, and for what could not be done. */
  letGo(): string[] {
    return namesOf(this.#folder, 'file').flatMap((name) => {
      const path = join(this.#folder, name);
      const lines = notesAt(path).filter(isThere).flatMap(letOneGo);
      rmSync(path, { force: true });
      return lines;
    });
  }
}

/** While one is being written nobody stands still: of one that is half written nobody is to be let go on. */
function notesAt(path: string): Note[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Note[];
  } catch {
    return [];
  }
}

/** The very group is there, in a hierarchy of this machine. */
const isThere = ({ version, folder, id }: Note): boolean =>
  normalize(folder) === folder &&
  readHierarchies().some((one) => one.version === version && folder.startsWith(`${one.at}/`)) &&
  String(groupId(folder)) === id;

function letOneGo({ version, folder }: Note): string[] {
  const files = freezeFilesOf(version, folder);
  try {
    if (!isStopped(files)) return [];
    letGo([files]);
    return [`${folder}, which was stopped to be written back, goes on`];
  } catch (error) {
    return [`cannot let ${folder} go on: ${error instanceof Error ? error.message : error}`];
  }
}

/** Lets everybody go on whom a writer had stopped, of a daemon that does not run any more. A line for each that there was something to say of. */
export async function letStoppedGo({ run, state }: Paths): Promise<string[]> {
  if (namesOf(join(run, runPlaces.stops), 'file').length === 0) return [];
  const lock = await lockFile(join(state, statePlaces.lock));
  if (lock === undefined) return ['a daemon runs: whom it stops is left alone'];
  using _ = lock;
  return new StopNotes(run).letGo();
}
