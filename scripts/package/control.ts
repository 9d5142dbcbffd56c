import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
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

const unitFolder = 'usr/lib/systemd/system';

/** Names of all units, sockets first. */
function unitsOf(staging: Staging): string[] {
  const entries = readdirSync(join(staging.folder, unitFolder), { withFileTypes: true });
  const units = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  return units.sort(
    (a, b) => Number(b.endsWith('.socket')) - Number(a.endsWith('.socket')) || (a < b ? -1 : 1),
  );
}

/** True for what is switched on at the installation. */
function isEnabled(staging: Staging, unit: string): boolean {
  return /^\[Install\]$/m.test(readFileSync(join(staging.folder, unitFolder, unit), 'utf8'));
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
  const all = unitsOf(staging);
  const units = all.filter((unit) => isEnabled(staging, unit)).join(' ');
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
    ALL_UNITS: all.join(' '),
  };
  staging.write('DEBIAN/control', filled(read('control'), values));
  for (const name of maintainerScripts)
    staging.write(`DEBIAN/${name}`, filled(read(name), values), 0o755);
  staging.write('DEBIAN/md5sums', sums(staging));
}
