/**
 * Builds the Debian package: the bundled programs, the runtime and native packages they were locked with, the units, manual
 * pages and completion. The same tree gives the same bytes.
 *
 *   node scripts/package.ts [--out FOLDER]
 *
 * Prints the path of the package: FOLDER/personad_VERSION_ARCHITECTURE.deb (FOLDER is build/).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { version } from '../daemon/version.ts';
import { sourceEpoch } from './package/changelog.ts';
import { writeControl } from './package/control.ts';
import { type Machine, machineOf } from './package/machine.ts';
import { Staging } from './package/staging.ts';
import { fillTree } from './package/tree.ts';

const root = dirname(import.meta.dirname);
const { values } = parseArgs({
  options: { out: { type: 'string', default: join(root, 'build') } },
});

/** Everything below `staging` as an archive at `file`, whole or not at all. */
function archive(staging: string, file: string, epoch: number): void {
  const fresh = `${file}.new-${process.pid}`;
  try {
    // zstd: both Debians read it, and xz takes a minute for a tenth less.
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '--build', staging, fresh], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) },
    });
    renameSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
}

function build(out: string, machine: Machine): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-package-'));
  try {
    const staging = new Staging(folder);
    const making = { root, staging, machine, version, epoch: sourceEpoch(root) };
    fillTree(making);
    writeControl(making);
    staging.settle(making.epoch);
    const file = join(out, `personad_${version}_${machine.debian}.deb`);
    mkdirSync(out, { recursive: true });
    archive(folder, file, making.epoch);
    return file;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

console.log(build(resolve(values.out), machineOf(process.arch)));
