import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { machineOf } from '../../scripts/package/machine.ts';
import { nativeParts } from '../../scripts/package/natives.ts';
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
  'scripts/launcher.ts',
  'scripts/package',
  'scripts/package.ts',
  'scripts/tool-code.ts',
  'systemd',
];

/** The time in it, seconds: a commit that changes nothing of the sources must not make another package. */
export const packageEpoch = Date.UTC(2026, 0, 1) / 1_000;

/** Packages of other sources go when nobody has asked for them for so long: a run that uses one may still be going on. */
const keptMs = 3_600_000;

function filesOf(path: string): string[] {
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/** Compiled on this machine: the lock file does not tell by what. */
const natives = nativeParts(machineOf(process.arch))
  .filter((part) => part.endsWith('.node'))
  .map((part) => join('node_modules', part));

function keyOf(): string {
  const hash = createHash('sha256');
  for (const file of [...sources, ...natives].flatMap(filesOf)) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex').slice(0, 12);
}

/** Takes away what nobody uses any more. */
function sweep(): void {
  for (const name of readdirSync(testCache())) {
    if (!/^package-[0-9a-f]{12}$/.test(name)) continue;
    const folder = join(testCache(), name);
    // Another process may be doing the same.
    const { mtimeMs } = statSync(folder, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity };
    if (Date.now() - mtimeMs < keptMs) continue;
    rmSync(folder, { recursive: true, force: true });
    rmSync(`${folder}.lock`, { force: true });
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
