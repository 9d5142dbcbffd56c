import { accessSync, constants, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { readHierarchies } from './cgroups.ts';
import { whereChildGroups } from './child-group.ts';
import { childIds } from './child-ids.ts';
import { runProgram } from './exec.ts';
import { Fd } from './fd.ts';
import { declareInt, declareSyscall } from './libc.ts';
import type { Capability } from './probe.ts';

/** What it may do, any user may. */
const ORDINARY_ID = String(childIds.trial);
const TRIAL_MS = 5_000;
const FOLDERS = ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin'];

const pidfdOpen = declareInt('pidfd_open', ['int', 'uint']);
const openat2 = declareSyscall('openat2', 437, ['int', 'text', 'bytes', 'u64']);

/** The full path of an installed program, or undefined. */
export function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

type Texts = Pick<Capability, 'usedFor' | 'fix' | 'needed'>;

async function tried(
  id: string,
  texts: Texts,
  trial: () => string | Promise<string>,
): Promise<Capability> {
  try {
    return { id, works: true, detail: await trial(), ...texts };
  } catch (error) {
    return {
      id,
      works: false,
      detail: error instanceof Error ? error.message : String(error),
      ...texts,
    };
  }
}

/** User namespaces as an ordinary user gets them, with a root of its own: what bubblewrap needs. */
async function userNamespace(): Promise<string> {
  const setpriv = findProgram('setpriv');
  if (setpriv === undefined) throw new Error('setpriv is not installed');
  const as = ['--reuid', ORDINARY_ID, '--regid', ORDINARY_ID, '--clear-groups', '--no-new-privs'];
  const args = [...as, 'unshare', '--user', '--map-root-user', '--mount', 'true'];
  await runProgram({ file: setpriv, args, deadlineMs: TRIAL_MS });
  return '';
}

function cgroups(version: 1 | 2): string {
  const found = readHierarchies().filter((one) => one.version === version);
  if (found.length === 0) throw new Error('not mounted');
  return found
    .map((one) => `${one.at}: ${one.controllers.join(' ') || 'no controllers'}`)
    .join(', ');
}

function openBeneath(): string {
  new Fd(
    openat2(-100, '/', Buffer.from([0, 0, 0x28, 0, ...new Array(20).fill(0)]), 24),
    '/',
  ).close();
  return '';
}

const TOOLS: [name: string, packageName: string, usedFor: string, needed: boolean][] = [
  [
    'bwrap',
    'bubblewrap',
    'running programs in a slot, and confining readers of foreign files',
    true,
  ],
  ['setpriv', 'util-linux', 'starting confined children with unprivileged ids', true],
  ['unshare', 'util-linux', 'making user namespaces', true],
  ['nsenter', 'util-linux', 'starting programs as root inside a slot of root', false],
  [
    'mkfs.ext4',
    'e2fsprogs',
    'a volume for what slots write, where the state folder cannot hold that itself',
    false,
  ],
  ['xz', 'xz-utils', 'importing squashfs images packed with xz', false],
];

function tool([name, packageName, usedFor, needed]: (typeof TOOLS)[number]): Promise<Capability> {
  const texts = { usedFor, needed, fix: `Install it: \`apt install ${packageName}\`.` };
  return tried(`tool-${name}`, texts, () => {
    const path = findProgram(name);
    if (path === undefined) throw new Error('not installed');
    return path;
  });
}

/** Tries what does not concern mounts: namespaces of users, cgroups, pressure, process handles, programs. */
export function probeHost(): Promise<Capability[]> {
  return Promise.all([
    tried(
      'kernel',
      {
        usedFor: 'everything',
        fix: 'Linux 6.1 is the oldest that is supported.',
        needed: true,
      },
      () => {
        const [major = 0, minor = 0] = release().split('.').map(Number);
        if (major < 6 || (major === 6 && minor < 1)) throw new Error(`${release()} is too old`);
        return release();
      },
    ),
    tried(
      'user-namespaces',
      {
        usedFor: '`personactl exec`: a user runs programs in a slot without privileges',
        fix: 'As root: `sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000`; on Ubuntu also `kernel.apparmor_restrict_unprivileged_userns=0`; then start personad again.',
        needed: false,
      },
      userNamespace,
    ),
    tried(
      'child-cgroups',
      {
        usedFor: 'limits of memory and a sure end for readers of foreign files',
        fix: 'Give the daemon a writable cgroup hierarchy; process limits are used meanwhile.',
        needed: false,
      },
      whereChildGroups,
    ),
    tried(
      'cgroup2',
      {
        usedFor: 'limits of slots',
        fix: 'Boot with `systemd.unified_cgroup_hierarchy=1`; version 1 is used meanwhile.',
        needed: false,
      },
      () => cgroups(2),
    ),
    // Where version 1 is not mounted nobody misses it.
    ...(readHierarchies().some(({ version }) => version === 1)
      ? [
          tried(
            'cgroup1',
            {
              usedFor: 'limits of slots where version 2 has no controllers',
              fix: 'Nothing to do where version 2 works.',
              needed: false,
            },
            () => cgroups(1),
          ),
        ]
      : []),
    tried(
      'pressure',
      {
        usedFor: 'seeing shortage of memory before it hurts',
        fix: 'Boot with `psi=1`.',
        needed: false,
      },
      () => readFileSync('/proc/pressure/memory', 'ascii').split('\n')[0] ?? '',
    ),
    tried(
      'pidfd',
      {
        usedFor: 'ending programs without ever hitting a wrong one',
        fix: 'Linux 5.3 or newer has it.',
        needed: true,
      },
      () => {
        new Fd(pidfdOpen(process.pid, 0), 'pidfd').close();
        return '';
      },
    ),
    tried(
      'openat2',
      {
        usedFor: 'opening files in trees of others without leaving them',
        fix: 'Linux 5.6 or newer has it.',
        needed: true,
      },
      openBeneath,
    ),
    ...TOOLS.map(tool),
  ]);
}
