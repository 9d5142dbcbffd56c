import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { State } from './ledger.ts';

/** Where the work of these tests writes inside a slot: notes that were synced, and others that were not. */
export const notesFolder = 'srv/notes';
export const lazyFolder = 'srv/lazy';

/** One digest of a whole tree: names, kinds, modes, owners, times of files, bytes. Without what was written in it. */
export function treeDigest(tree: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(tree, { recursive: true, encoding: 'utf8' }).sort()) {
    if (name.startsWith(`${notesFolder}/`) || name.startsWith(`${lazyFolder}/`)) continue;
    const path = join(tree, name);
    const stat = lstatSync(path);
    hash.update(`${name} ${stat.mode} ${stat.uid}:${stat.gid} ${stat.rdev}\n`);
    if (stat.isFile()) hash.update(`${stat.mtimeMs} ${stat.size}\n`).update(readFileSync(path));
    if (stat.isSymbolicLink()) hash.update(readlinkSync(path));
  }
  return hash.digest('hex').slice(0, 16);
}

const shortDigest = (bytes: Buffer) =>
  createHash('sha256').update(bytes).digest('hex').slice(0, 16);

/** The files of a folder with the digests of their content; a name that begins with a dot was never finished. */
export function filesOf(folder: string): Record<string, string> {
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder).filter((name) => !name.startsWith('.'));
  return Object.fromEntries(
    names.sort().map((name) => [name, shortDigest(readFileSync(join(folder, name)))]),
  );
}

/** What a slot shows: its persona by name and by every byte, and the notes that were synced in it. */
export function shownState(tree: string): NonNullable<State> {
  return {
    persona: readFileSync(join(tree, 'etc/name'), 'utf8'),
    digest: treeDigest(tree),
    notes: filesOf(join(tree, notesFolder)),
  };
}
