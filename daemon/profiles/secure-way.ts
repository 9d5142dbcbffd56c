import { join, normalize } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { type GrantWord, planBytesMax, planListMax } from '../../ipc/values.ts';
import type { Account } from '../kernel/accounts.ts';
import { type BesideUsr, bubblewrap } from '../kernel/sandbox-host.ts';
import { type SessionGrants, sessionOptions } from '../kernel/session-sockets.ts';
import type { Way } from './launch-plan.ts';

/** What an application that is kept apart may be given, one by one: a thing of the session, or a folder at the same path. */
export type Grant = GrantWord | { show: string } | { share: string };

/** An application that is to be kept apart, and where. */
export interface Apart {
  app: string;
  uid: number;
  account: Account | undefined;
  /** The folder that is to be its home. */
  home: string;
  grants: readonly Grant[];
  /** The program as the caller has found it. */
  executable?: string | undefined;
  besideUsr: BesideUsr;
  /** There is something in /opt. */
  hasOpt: boolean;
  /** A folder with all of `settings`, and nothing else; absent: each is shown by itself. */
  settings?: string | undefined;
  /** Where the filter of system calls lies. */
  filter: string;
  /** The program that lets the kernel keep it to paths; absent where the kernel cannot. */
  confine?: string | undefined;
}

/** Of /etc, what programs need to run at all, and to look and speak as on this machine. */
export const settings: readonly string[] = [
  'X11',
  'alternatives',
  'bash.bashrc',
  'ca-certificates',
  'fonts',
  'group',
  'gtk-3.0',
  'inputrc',
  'ld.so.cache',
  'localtime',
  'mime.types',
  'nsswitch.conf',
  'passwd',
  'ssl',
  'vim',
  'xdg',
];
/** Of /etc, what the network needs. */
const netSettings = ['gai.conf', 'host.conf', 'hosts', 'protocols', 'resolv.conf', 'services'];

const locale = ['ADDRESS', 'COLLATE', 'CTYPE', 'IDENTIFICATION', 'MEASUREMENT', 'MESSAGES'].concat([
  'MONETARY',
  'NAME',
  'NUMERIC',
  'PAPER',
  'TELEPHONE',
  'TIME',
  'ALL',
]);
/** The only variables of the caller that an application gets: all others may change what a program loads or runs. */
const kept = ['TERM', 'COLORTERM', 'NO_COLOR', 'TZ', 'LANG', 'LANGUAGE'].concat(
  locale.map((name) => `LC_${name}`),
);
const keptForWayland = ['WAYLAND_DISPLAY', 'XDG_SESSION_TYPE', 'XDG_CURRENT_DESKTOP'];

const PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games';
/** Folders of programs that are shown as they are. */
const programs = ['/usr', '/opt'];
/** Whose content is the machine itself: shown through a grant they would lead around everything else. */
const machineFolders = ['/proc', '/sys', '/dev'];
const sandboxHome = '/home/user';
/** Where a program of ours is found inside that does not lie in /usr. */
const confineInside = '/persona-confine';

const isIn = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);

/** Where the application finds its home: at the path of the user's own, of which nothing is there. */
export const homeInside = (account: Account | undefined): string =>
  account !== undefined && /^\/home\/[^/:]+$/.test(account.home) ? account.home : sandboxHome;

/** Folders among grants. */
export function foldersOf(grants: readonly Grant[]): { path: string; write: boolean }[] {
  return grants.flatMap((one): { path: string; write: boolean }[] => {
    if (typeof one === 'string') return [];
    return 'show' in one ? [{ path: one.show, write: false }] : [{ path: one.share, write: true }];
  });
}

/** Where a user states what applications are granted: below his own home. */
const STATED = '.config/persona';

function folderOptions({ grants, account }: Apart): string[] {
  const stated = account && join(account.home, STATED);
  // What lies in another one is shown over it.
  const folders = foldersOf(grants).toSorted((a, b) => a.path.length - b.path.length);
  return folders.flatMap(({ path, write }) => {
    const bad = (reason: string) => new PersonaError('bad-value', { name: path, reason });
    if (normalize(path) !== path || (path.length > 1 && path.endsWith('/')))
      throw bad('a folder is granted by its plain path');
    if (isIn(homeInside(account), path)) throw bad('it holds the home that is kept from it');
    if (machineFolders.some((one) => isIn(path, one))) throw bad('it is the machine itself');
    if (write && stated !== undefined && (isIn(path, stated) || isIn(stated, path)))
      throw bad(`what writes to ${stated} grants itself anything at its next start`);
    return [write ? '--bind' : '--ro-bind', path, path];
  });
}

const sessionOf = (grants: readonly Grant[]): SessionGrants =>
  Object.fromEntries(grants.flatMap((one) => (typeof one === 'string' ? [[one, true]] : [])));

/** A program that is nowhere inside would be told missing by words that help nobody. */
function checkExecutable({ app, executable, grants, besideUsr }: Apart): void {
  const folders = foldersOf(grants).map(({ path }) => path);
  const seen = [...programs, ...besideUsr.map(({ path }) => path), ...folders];
  if (executable === undefined || seen.some((one) => isIn(executable, one))) return;
  const folder = executable.slice(0, Math.max(1, executable.lastIndexOf('/')));
  throw new PersonaError('profile-unavailable', {
    app,
    profile: 'secure',
    reason: `${executable} is not among what it is shown: grant its folder with \`--show ${folder}\``,
  });
}

/**
 * What is shown of /etc. Each bind costs bubblewrap a reading of the mount table, which is most of the time that it takes: all of it is one where
 * nothing else of /etc is granted.
 */
function settingsOptions({ settings: folder, grants }: Apart): string[] {
  const net = grants.includes('net');
  const more = net || foldersOf(grants).some(({ path }) => isIn(path, '/etc'));
  if (folder !== undefined && !more) return ['--ro-bind', folder, '/etc'];
  return [...settings, ...(net ? netSettings : [])].flatMap((name) => {
    const path = `/etc/${name}`;
    return ['--ro-bind-try', path, path];
  });
}

/** By the variable alone a program would look for a display that it is not shown. */
function keptFor(grants: readonly Grant[]): string[] {
  if (grants.includes('display')) return ['DISPLAY', ...keptForWayland];
  return grants.includes('wayland') ? keptForWayland : [];
}

function treeOptions(apart: Apart): string[] {
  const { besideUsr, hasOpt } = apart;
  return [
    '--ro-bind',
    '/usr',
    '/usr',
    ...besideUsr.flatMap(({ path, target }) =>
      target === undefined ? ['--ro-bind', path, path] : ['--symlink', target, path],
    ),
    ...(hasOpt ? ['--ro-bind-try', '/opt', '/opt'] : []),
    ...settingsOptions(apart),
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--tmpfs', '/run'],
    ...['--dir', '/var', '--symlink', '../tmp', '/var/tmp', '--symlink', '../run', '/var/run'],
  ];
}

/** The program that confines it, at a path that is there inside, and what shows it there. */
function confineAt({ confine }: Apart): { path: string; options: string[] } | undefined {
  if (confine === undefined) return undefined;
  if (isIn(confine, '/usr')) return { path: confine, options: [] };
  return { path: confineInside, options: ['--ro-bind', confine, confineInside] };
}

/**
 * The same walls once more, of another make: Landlock keeps it to these paths, whatever else its mounts came to show. Names of the root can be
 * seen. What listens on its own loopback is its own: TCP is the matter of its network.
 */
function confineWords(apart: Apart, path: string): string[] {
  const { besideUsr, grants, account } = apart;
  const shown = foldersOf(grants);
  const beside = besideUsr.filter(({ target }) => target === undefined).map((one) => one.path);
  const reads = [...programs, '/etc', ...beside, ...shown.map((one) => one.path)];
  const shared = shown.filter(({ write }) => write).map((one) => one.path);
  const writes = [homeInside(account), '/tmp', '/run', '/dev/shm', ...shared];
  return [
    ...[path, '--see', '/', '--use', '/proc', '--use', '/dev'],
    ...reads.flatMap((one) => ['--read', one]),
    ...writes.flatMap((one) => ['--write', one]),
    '--',
  ];
}

/**
 * How an application is started apart from everything else, by bubblewrap as its user: own user, mount, pid, ipc, uts and cgroup
 * namespaces, own net unless granted, programs of the machine to read, an enclave as home, nothing else of the machine's files; a filter of
 * system calls, Landlock, an environment of known names. Throws `profile-unavailable` and `bad-value` for what cannot be had like this. Pure.
 */
export function secureWay(apart: Apart): Way {
  const { uid, account, home, grants, filter } = apart;
  checkExecutable(apart);
  const inside = homeInside(account);
  const name = account?.name ?? 'user';
  const confine = confineAt(apart);
  const argv = [
    bubblewrap,
    ...[
      '--unshare-user',
      '--unshare-pid',
      '--unshare-ipc',
      '--unshare-uts',
      '--unshare-cgroup-try',
    ],
    ...(grants.includes('net') ? [] : ['--unshare-net']),
    ...treeOptions(apart),
    ...sessionOptions(sessionOf(grants), uid),
    ...['--bind', home, inside],
    ...folderOptions(apart),
    ...(confine?.options ?? []),
    ...['--remount-ro', '/', '--chdir', inside, '--seccomp', '3', '--'],
    ...(confine === undefined ? [] : confineWords(apart, confine.path)),
  ];
  const set = { HOME: inside, PATH, USER: name, LOGNAME: name, SHELL: '/bin/sh' };
  const way = {
    argv,
    environment: {
      set,
      unset: [],
      keep: [...kept, ...keptFor(grants)],
    },
    filter,
    notices: [],
  };
  if (argv.length > planListMax || Buffer.byteLength(JSON.stringify(way)) > planBytesMax / 2)
    throw new PersonaError('limit-exceeded', { what: 'what is granted to it', limit: planListMax });
  return way;
}
