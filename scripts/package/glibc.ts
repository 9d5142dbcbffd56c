import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Staging } from './staging.ts';

/** The C and C++ libraries of Debian 12, the oldest the package is made for (GLIBCXX 3.4.30 is that of GCC 12). */
const oldest = { GLIBC: '2.36', GLIBCXX: '3.4.30' };

const compare = (a: string, b: string): number =>
  a.localeCompare(b, 'en', { numeric: true, sensitivity: 'base' });

/** Names of symbol versions stand as plain text in a binary's string table. */
function highest(binary: string, family: keyof typeof oldest): string {
  const text = readFileSync(binary, 'latin1');
  const found = [...text.matchAll(new RegExp(`\\b${family}_([0-9.]+[0-9])\\b`, 'g'))];
  return found.map(([, one = '0']) => one).reduce((a, b) => (compare(a, b) < 0 ? b : a), '0');
}

/**
 * The C library that the binaries of the tree need. Throws when one needs a newer C or C++ library than Debian 12 has: it was
 * built on a newer machine.
 */
export function highestGlibc(staging: Staging): string {
  const binaries = staging
    .files()
    .filter((path) => path.endsWith('/node') || path.endsWith('.node'));
  let needed = '0';
  for (const path of binaries) {
    const place = join(staging.folder, path);
    for (const family of ['GLIBC', 'GLIBCXX'] as const) {
      const found = highest(place, family);
      if (compare(found, oldest[family]) > 0)
        throw new Error(`${path} needs ${family} ${found}, Debian 12 has ${oldest[family]}`);
      if (family === 'GLIBC' && compare(needed, found) < 0) needed = found;
    }
  }
  return needed;
}
