import { chmod, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { namesOf, removeFile, syncFile, syncFolder } from '../kernel/files.ts';
import { literal } from './sql.ts';
import type { Driver } from './store.ts';

/** Copies of earlier schemas that are kept beside a database: more would only be older. */
const copiesMax = 2;

/**
 * Writes a copy of the database at `file` beside it, durably, before its schema becomes `version`: what a person can go back
 * to when that turns out wrong. Keeps the newest ones only. Throws when there is no room for it: nothing was changed.
 */
export async function copyBeforeMigration(
  driver: Driver,
  file: string,
  version: number,
): Promise<void> {
  const folder = dirname(file);
  const prefix = `${basename(file)}.before-`;
  const aside = join(folder, `${prefix}new`);
  await removeFile(aside);
  try {
    await driver.exec(`VACUUM INTO ${literal(aside)}`);
    await chmod(aside, 0o600);
    await syncFile(aside);
    await rename(aside, join(folder, `${prefix}${version}`));
  } catch (error) {
    await removeFile(aside).catch(() => undefined);
    throw error;
  }
  await syncFolder(folder);
  const copies = namesOf(folder, 'file')
    .map((name) => (name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN))
    .filter((copy) => copy > 0)
    .sort((a, b) => b - a);
  for (const copy of copies.slice(copiesMax)) await removeFile(join(folder, `${prefix}${copy}`));
}
