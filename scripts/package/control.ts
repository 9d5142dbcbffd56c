import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { highestGlibc } from './glibc.ts';
import type { Staging } from './staging.ts';
import type { Making } from './tree.ts';

const maintainerScripts = ['preinst', 'postinst', 'prerm', 'postrm'];
/** Kept free beside what is installed: an upgrade has old and new files at one time, and a log grows. */
const spareKib = 64 * 1024;

const control = (root: string): string => readFileSync(join(root, 'packaging/control'), 'utf8');

/** Who is named in packaging/control. */
export function maintainerOf(root: string): string {
  return /^Maintainer: (.*)$/m.exec(control(root))?.[1] ?? '';
}

/** Units that are switched on at the installation: those with an [Install] section, sockets first. */
function unitsOf(staging: Staging): string[] {
  const folder = 'usr/lib/systemd/system/';
  return staging
    .files()
    .filter((path) => path.startsWith(folder))
    .filter((path) => /^\[Install\]$/m.test(readFileSync(join(staging.folder, path), 'utf8')))
    .map((path) => path.slice(folder.length))
    .sort(
      (a, b) => Number(b.endsWith('.socket')) - Number(a.endsWith('.socket')) || (a < b ? -1 : 1),
    );
}

function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`packaging: nothing is known of @${name}@`);
    return value;
  });
}

function sums(staging: Staging): string {
  const lines = staging.files().map((path) => {
    const bytes = readFileSync(join(staging.folder, path));
    return `${createHash('md5').update(bytes).digest('hex')}  ${path}\n`;
  });
  return lines.join('');
}

/** Writes what dpkg reads: the control file, the scripts, the sums. Call when the tree is complete. */
export function writeControl({ root, staging, machine, version }: Making): void {
  const read = (name: string) => readFileSync(join(root, 'packaging', name), 'utf8');
  const units = unitsOf(staging).join(' ');
  staging.write('usr/lib/personad/activate', filled(read('activate'), { UNITS: units }), 0o755);
  staging.write('usr/share/lintian/overrides/personad', read('lintian-overrides'));
  const kib = staging.installedKib();
  const values = {
    VERSION: version,
    ARCHITECTURE: machine.debian,
    GLIBC: highestGlibc(staging),
    INSTALLED_KIB: String(kib),
    NEEDED_KIB: String(kib + spareKib),
    UNITS: units,
  };
  staging.write('DEBIAN/control', filled(read('control'), values));
  for (const name of maintainerScripts)
    staging.write(`DEBIAN/${name}`, filled(read(name), values), 0o755);
  staging.write('DEBIAN/md5sums', sums(staging));
}
