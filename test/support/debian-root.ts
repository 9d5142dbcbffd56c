import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached, finish } from './cache.ts';

/** The Debian releases the package is made for. */
export type Suite = 'bookworm' | 'trixie';

/** What to unpack. */
export interface DebianRoot {
  suite: Suite;
  /** Packages beside the essential ones; a root for every list costs a minute, so take `installedPackages`. */
  include?: readonly string[];
}

/** One root per suite for all tests: systemd as PID 1, what the project's own package depends on, and two applications. */
export const installedPackages: readonly string[] = [
  'bubblewrap',
  'dbus',
  'e2fsprogs',
  'erofs-utils',
  'git',
  'libnss-systemd',
  'mount',
  'rsync',
  'sqlite3',
  'systemd',
  'systemd-container',
  'systemd-sysv',
  'util-linux',
  'xz-utils',
];

/** Nobody reads these in a test. The rule ends with the build: later packages are installed whole. */
const options = [
  ...['doc', 'locale', 'man'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
  '--customize-hook=rm -f "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"',
];

/** The mirror from which this machine itself takes Debian, or undefined. */
export function debianMirror(): string | undefined {
  const [, codename = 'stable'] =
    /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? [];
  const line = new RegExp(`^deb (?:\\[.*\\] )?(\\S+) ${codename} `, 'm');
  const suites = new RegExp(`^Suites:.*\\b${codename}(?= |$)`, 'm');
  for (const text of aptSources()) {
    const [, found] = line.exec(text) ?? [];
    if (found !== undefined) return found;
    for (const stanza of text.split(/\n\s*\n/)) {
      const [, uri] = /^URIs:\s*(\S+)/m.exec(stanza) ?? [];
      if (uri !== undefined && suites.test(stanza)) return uri;
    }
  }
  return undefined;
}

function aptSources(): string[] {
  const folder = '/etc/apt/sources.list.d';
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  return ['/etc/apt/sources.list', ...names.map((name) => join(folder, name))]
    .filter((file) => /\.(list|sources)$/.test(file) && existsSync(file))
    .map((file) => readFileSync(file, 'utf8'));
}

/** Why no root can be had on this machine, or undefined. For `when(...)`. */
export function lackingDebianRoot(): string | undefined {
  return debianMirror() === undefined ? 'no Debian mirror in the sources of apt' : undefined;
}

/**
 * The path of an unpacked Debian, made by mmdebstrap when the cache has none from the same list and
 * options. Never write to it: lay an overlay over it. Rejects with what mmdebstrap said.
 */
export async function debianRoot({
  suite,
  include = installedPackages,
}: DebianRoot): Promise<string> {
  const mirror = debianMirror();
  if (mirror === undefined) throw new Error(lackingDebianRoot());
  const packages = `--include=${[...include].sort().join(',')}`;
  const args = ['--mode=root', '--variant=minbase', '--quiet', packages, ...options, suite];
  const key = createHash('sha256').update(args.join('\n')).digest('hex').slice(0, 12);
  return cached(`${suite}-${key}`, async (fresh) => {
    await finish('mmdebstrap', [...args, fresh, `deb ${mirror} ${suite} main`]);
    chmodSync(fresh, 0o755);
  });
}
