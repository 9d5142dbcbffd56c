import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A whole root, downloaded and unpacked from a slow mirror on a busy machine. */
const buildSeconds = 900;

/** The Debian releases the package is made for. */
export type Suite = 'bookworm' | 'trixie';

/** What to unpack. */
export interface DebianRoot {
  suite: Suite;
  /** Packages beside the essential ones; a root for every list costs a minute, so take `installedPackages`. */
  include?: readonly string[];
}

/** One root per suite for all tests: systemd as PID 1, and what the project's own package depends on. */
export const installedPackages: readonly string[] = [
  'bubblewrap',
  'dbus',
  'e2fsprogs',
  'erofs-utils',
  'libnss-systemd',
  'mount',
  'rsync',
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

/** What tests keep from run to run. It may be removed at any time. */
export function testCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'personad-test');
}

/** Runs a program to its end. Rejects with the last of what it said. */
async function finish(file: string, args: readonly string[], lock?: number): Promise<void> {
  const limit = AbortSignal.timeout(buildSeconds * 1_000);
  const stdio = ['ignore', 'ignore', 'pipe', lock ?? 'ignore'] as const;
  const child = spawn(file, args, { stdio: [...stdio], cwd: '/', signal: limit });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-4_000);
  });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}:\n${said}`);
}

/** Does `work` while no other process holds this lock. It belongs to our open file and ends with us. */
async function alone(file: string, work: () => Promise<void>): Promise<void> {
  const lock = openSync(file, 'a', 0o600);
  try {
    await finish('flock', ['--timeout', String(buildSeconds), '3'], lock);
    await work();
  } finally {
    closeSync(lock);
  }
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
  const cache = testCache();
  const root = join(cache, `${suite}-${key}`);
  if (existsSync(root)) return root;
  mkdirSync(cache, { recursive: true, mode: 0o755 });
  await alone(`${root}.lock`, async () => {
    if (existsSync(root)) return;
    const fresh = `${root}.new`;
    rmSync(fresh, { recursive: true, force: true });
    await finish('mmdebstrap', [...args, fresh, `deb ${mirror} ${suite} main`]);
    chmodSync(fresh, 0o755);
    renameSync(fresh, root);
  });
  return root;
}
