import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { settingTable } from '../../daemon/config/settings.ts';
import { formatSize } from '../../ipc/values.ts';
import { debianChangelog } from './changelog.ts';
import { maintainerOf } from './control.ts';
import { copyrightOf } from './copyright.ts';
import type { Machine } from './machine.ts';
import { nativeParts, runtimePackage } from './natives.ts';
import type { Staging } from './staging.ts';

/** What a package is made of. */
export interface Making {
  /** The project. */
  root: string;
  staging: Staging;
  machine: Machine;
  version: string;
  /** Seconds that stand for the sources. */
  epoch: number;
}

const lib = 'usr/lib/personad';
const doc = 'usr/share/doc/personad';
const launcher = 'persona-run';
/** Lies beside the daemon's own, which tells sandboxes where. */
const confiner = 'persona-confine';
const guard = 'lease-guard';
const pins = 'file-pins';
const native: ReadonlySet<string> = new Set([launcher, confiner, guard, pins]);

/** Where each file of systemd/ is installed, by the end of its name. */
const systemFolders: readonly [end: string, place: (name: string) => string][] = [
  ['.sysusers', () => 'usr/lib/sysusers.d/personad.conf'],
  ['.tmpfiles', () => 'usr/lib/tmpfiles.d/personad.conf'],
  // Of all units whose names begin so (systemd.unit(5)).
  [
    '.mount.conf',
    (name) => `usr/lib/systemd/system/${name.replace(/\.mount\.conf$/, '-.mount.d')}/personad.conf`,
  ],
  ...['.service', '.socket', '.slice', '.target', '.timer', '.path'].map(
    (end) => [end, (name: string) => `usr/lib/systemd/system/${name}`] as [string, () => string],
  ),
];

/** Puts everything that is installed into the staging tree. */
export function fillTree(making: Making): void {
  const { root, staging, machine, version, epoch } = making;
  const dist = mkdtempSync(join(tmpdir(), 'personad-dist-'));
  try {
    const build = ['--no-warnings', join(root, 'scripts/build.ts'), '--out', join(dist, 'dist')];
    execFileSync(process.execPath, build, { stdio: ['ignore', 'ignore', 'inherit'] });
    putPrograms(staging, join(dist, 'dist'));
    staging.write(`${doc}/copyright`, copyrightOf(root, join(dist, 'dist'), machine));
    putCompletion(staging, join(dist, 'dist/personactl.cjs'));
  } finally {
    rmSync(dist, { recursive: true, force: true });
  }
  putNatives(staging, join(root, 'node_modules'), machine);
  putSystemFiles(staging, join(root, 'systemd'));
  const changes = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  const about = { version, epoch, maintainer: maintainerOf(root) };
  staging.writeCompressed(`${doc}/changelog`, debianChangelog(changes, about));
  staging.write(`${doc}/examples/persona.toml`, exampleSettings());
  staging.folderAt('etc/persona/conf.d');
}

/** Programs, with the runtime of the package in place of whatever Node a machine has. Source maps stay behind. */
function putPrograms(staging: Staging, dist: string): void {
  for (const entry of readdirSync(dist, { withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.map') || native.has(entry.name)) continue;
    const bytes = readFileSync(join(dist, entry.name));
    const shebang = '#!/usr/bin/env node\n';
    const runs = bytes.toString('latin1', 0, shebang.length) === shebang;
    const own = Buffer.from(`#!/${lib}/node\n`);
    const content = runs ? Buffer.concat([own, bytes.subarray(shebang.length)]) : bytes;
    staging.write(`${lib}/dist/${entry.name}`, content, runs ? 0o755 : 0o644);
  }
  // Without a C compiler there are none, and a package is not to lack them.
  staging.copy(join(dist, launcher), `usr/bin/${launcher}`, 0o755);
  for (const name of [confiner, guard, pins])
    staging.copy(join(dist, name), `${lib}/dist/${name}`, 0o755);
  staging.link('personactl-run.1.gz', `usr/share/man/man1/${launcher}.1.gz`);
  staging.link('../lib/personad/dist/personactl.cjs', 'usr/bin/personactl');
  for (const name of readdirSync(join(dist, 'man/man1')))
    staging.writeCompressed(
      `usr/share/man/man1/${name}`,
      readFileSync(join(dist, 'man/man1', name)),
    );
}

function putCompletion(staging: Staging, tool: string): void {
  const places = {
    bash: 'usr/share/bash-completion/completions/personactl',
    zsh: 'usr/share/zsh/vendor-completions/_personactl',
    fish: 'usr/share/fish/vendor_completions.d/personactl.fish',
  };
  for (const [shell, place] of Object.entries(places))
    staging.write(place, execFileSync(process.execPath, [tool, 'completion', shell]));
}

function putNatives(staging: Staging, modules: string, machine: Machine): void {
  staging.copy(join(modules, runtimePackage(machine), 'bin/node'), `${lib}/node`, 0o755);
  for (const part of nativeParts(machine))
    staging.copy(join(modules, part), `${lib}/node_modules/${part}`);
}

function putSystemFiles(staging: Staging, folder: string): void {
  for (const name of readdirSync(folder).filter((one) => one !== 'README.md')) {
    const place = systemFolders.find(([end]) => name.endsWith(end))?.[1](name);
    if (place === undefined) throw new Error(`systemd/${name}: no rule says where it is installed`);
    staging.copy(join(folder, name), place);
  }
}

/** Every setting with its default, to copy from. No conffile: an upgrade never asks about it. */
function exampleSettings(): string {
  const lines = [
    '# Settings of personad and their defaults. In force is /etc/persona/persona.toml, then conf.d/*.toml.',
  ];
  let table = '';
  for (const [key, { value, kind, doc: what }] of Object.entries(settingTable)) {
    const [first = '', name = ''] = key.split('.');
    if (first !== table) lines.push('', `[${first}]`);
    table = first;
    const shown = kind === 'size' ? `"${formatSize(Number(value))}"` : JSON.stringify(value);
    lines.push(`# ${what}`, `#${name} = ${shown}`);
  }
  return `${lines.join('\n')}\n`;
}
