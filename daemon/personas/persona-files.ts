import { join } from 'node:path';
import { digestToFileName } from '../../ipc/values.ts';
import { statePlaces } from '../config/paths.ts';
import { removing } from './removals.ts';
import type { PersonasRoom } from './room.ts';

/** Kind of the record beside a persona's file. */
export const recordKind = 'persona';

/** Where a persona's file lies, relative to the state tree. */
export function personaFile(digest: string): string {
  return join(statePlaces.personas, `${digestToFileName(digest)}.osp`);
}

/** Where the bytes lie that a repacked persona came as. */
export function originalFile(digest: string): string {
  return join(statePlaces.personas, `${digestToFileName(digest)}.original`);
}

/** The record that describes a persona's file. */
export function recordFile(file: string): string {
  return file.replace(/\.osp$/, '.json');
}

/** Removes the files of a persona that neither a row nor a running change needs. Safe to repeat. */
export async function dropPersonaFiles(room: PersonasRoom, digest: string): Promise<void> {
  const row = await room.store.get('SELECT 1 FROM personas WHERE digest = ?', digest);
  // Nothing waits between this look and the removal: whoever places the files from here on waits for it.
  if (row !== undefined || room.placing.has(digest)) return;
  const at = (file: string) => join(room.paths.state, file);
  const file = personaFile(digest);
  await removing(at(file), [at(recordFile(file)), at(file), at(originalFile(digest))]);
}
