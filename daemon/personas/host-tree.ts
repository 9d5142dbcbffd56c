import { realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Paths, pathsOf, statePlaces } from '../config/paths.ts';
import { failedWith } from '../kernel/errno.ts';
import { readMountinfo } from '../kernel/mountinfo.ts';
import { namesIn, OPEN, openBeneath, openFolder } from '../kernel/openat.ts';

/** Folders of a running system that hold no part of the installed one; they stay, empty. */
const runtimeFolders = ['proc', 'sys', 'dev', 'run', 'tmp', 'var/tmp', 'home', 'lost+found'];

/**
 * What identifies this machine or opens doors to others. A base is shown to users of slots, who may be root
 * inside theirs: secrets of the host must not be in it (SECURITY 33).
 */
const secrets = [
  'root',
  'etc/ssl/private',
  'etc/wireguard',
  'etc/krb5.keytab',
  'etc/NetworkManager/system-connections',
  'etc/cryptsetup-keys.d',
  'etc/credstore',
  'etc/credstore.encrypted',
  'var/lib/systemd/random-seed',
  'var/lib/systemd/credential.secret',
  'var/lib/private',
  'var/backups',
  'var/spool/cron',
  'var/spool/at',
  'var/mail',
  'var/spool/mail',
];

/** Files that a system expects to be there, but whose content is this machine's alone. */
const blanked = [
  'etc/machine-id',
  'var/lib/dbus/machine-id',
  'etc/shadow',
  'etc/shadow-',
  'etc/gshadow',
  'etc/gshadow-',
  'etc/security/opasswd',
];

/** Where the daemon of the service has its state; below a root of its own, where another one has. */
const stateOfService = pathsOf(undefined).state;
const stateBelowRoot = relative('/', pathsOf('/').state);

/**
 * What a state tree of ours holds: the key of this machine, and the database with the secrets of slots and of other users
 * (SECURITY 5). It may lie anywhere, its daemon running or not.
 */
const marksOfState = [statePlaces.machineKey, statePlaces.database];

/** What is left out of a base made of the running system, as paths from the root. */
export interface HostOmissions {
  exclude: string[];
  blank: string[];
  /** Whatever folder has one of these is a state tree of ours, or the root of a daemon such as the quickstart's. */
  leaveWith: string[];
}

/** The names of this machine's private host keys. On another mount they are not walked, and nobody waits for that one. */
function hostKeys(root: string): string[] {
  using system = openFolder(root);
  try {
    using ssh = openBeneath(system, 'etc/ssh', { flags: OPEN.folder, sameMount: true });
    const names = namesIn(ssh).filter((name) => name.startsWith('ssh_host_'));
    return names.map((name) => `etc/ssh/${name}`);
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) return [];
    throw error;
  }
}

/** Where other file systems are mounted: what they cover is no part of the installed system either. */
function mountPlaces(root: string): string[] {
  return readMountinfo().flatMap(({ at }) => placeBelow(root, at));
}

/** The place of a path from the root, as a byte string; none for the root itself and for what is not below it. */
function placeBelow(root: string, path: string): string[] {
  const place = relative(root, path);
  return place === '' || place === '..' || place.startsWith('../') ? [] : [byteString(place)];
}

/** Our own state tree, also when a link leads there. */
function placesOf(root: string, path: string): string[] {
  try {
    return [...placeBelow(root, path), ...placeBelow(root, realpathSync(path))];
  } catch {
    return placeBelow(root, path);
  }
}

function byteString(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/**
 * What a base of the running system leaves out: runtime folders, other mounts, secrets, and our own trees. `root` is where that
 * system is seen.
 */
export function hostOmissions(paths: Pick<Paths, 'state'>, root = '/'): HostOmissions {
  const ours = [...placesOf(root, paths.state), ...placeBelow(root, join(root, stateOfService))];
  const kept = [...mountPlaces(root), ...hostKeys(root), ...ours];
  return {
    exclude: [...new Set([...runtimeFolders, ...secrets, ...kept])],
    blank: [...blanked],
    leaveWith: [...marksOfState, ...marksOfState.map((mark) => `${stateBelowRoot}/${mark}`)],
  };
}
