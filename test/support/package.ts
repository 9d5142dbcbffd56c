import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { cached, finish, testCache } from './cache.ts';

const root = join(import.meta.dirname, '../..');

/** All that a package is made from. */
const sources = [
  'CHANGELOG.md',
  'ctl',
  'daemon',
  'ipc',
  'package-lock.json',
  'package.json',
  'packaging',
  'scripts/build.ts',
  'scripts/package',
  'scripts/package.ts',
  'scripts/tool-code.ts',
  'systemd',
];

/** The time in it, seconds: a commit that changes nothing of the sources must not make another package. */
export const packageEpoch = Date.UTC(2026, 0, 1) / 1_000;

/** Packages of other sources that stay in the cache: those of a run that may still be going on. */
const kept = 3;

function filesOf(path: string): string[] {
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

function keyOf(): string {
  const hash = createHash('sha256');
  for (const file of sources.flatMap(filesOf)) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex').slice(0, 12);
}

/** Takes away all but the newest folders of packages. */
function sweep(): void {
  const cache = testCache();
  const folders = readdirSync(cache).filter((name) => /^package-[0-9a-f]{12}$/.test(name));
  const byAge = folders.sort(
    (a, b) => statSync(join(cache, b)).mtimeMs - statSync(join(cache, a)).mtimeMs,
  );
  for (const name of byAge.slice(kept)) {
    rmSync(join(cache, name), { recursive: true, force: true });
    rmSync(join(cache, `${name}.lock`), { force: true });
  }
}

/** The Debian package of this very tree, as `npm run package` makes it; built once for all tests. Its name ends in `.deb`. */
export async function builtPackage(): Promise<string> {
  const folder = await cached(`package-${keyOf()}`, async (fresh) => {
    const program = join(root, 'scripts/package.ts');
    const build = [process.execPath, '--no-warnings', program, '--out', fresh];
    await finish('env', [`SOURCE_DATE_EPOCH=${packageEpoch}`, ...build]);
  });
  const now = new Date();
  utimesSync(folder, now, now);
  sweep();
  return join(folder, readdirSync(folder).find((name) => name.endsWith('.deb')) ?? 'nothing.deb');
}
