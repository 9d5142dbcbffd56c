import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Paths, pathsOf, statePlaces } from '../config/paths.ts';
import { readMountinfo } from '../kernel/mountinfo.ts';

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

/** What is left out of a base made of the running system, as paths from the root. */
export interface HostOmissions {
  exclude: string[];
  blank: string[];
}

/** Where the daemon of the service has its state; below a root of its own, where another one has. */
const stateOfService = pathsOf(undefined).state;
const stateBelowRoot = relative('/', pathsOf('/').state);

/** Names in a folder as byte strings; none when it cannot be read. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { encoding: 'latin1' });
  } catch {
    return [];
  }
}

/** The names of this machine's private host keys. */
function hostKeys(root: string): string[] {
  const names = namesIn(join(root, 'etc/ssh'));
  return names.filter((name) => name.startsWith('ssh_host_')).map((name) => `etc/ssh/${name}`);
}

/** Where other file systems are mounted: what they cover is no part of the installed system either. */
function mountPlaces(root: string): string[] {
  return readMountinfo().flatMap(({ at }) => placeBelow(root, at));
}

/** Where a state tree of ours lies: its private key and its database, secrets of slots and of other users (SECURITY 5). */
function isStateTree(root: string, place: string): boolean {
  const path = Buffer.from(byteString(join(root, '/')) + place, 'latin1');
  return [statePlaces.machineKey, statePlaces.database].some((name) =>
    existsSync(Buffer.concat([path, Buffer.from(`/${name}`)])),
  );
}

/**
 * Trees of daemons of ours, running or not: the one of the service, and those with a root of their own, as the quickstart's, with
 * all that is beside their state.
 */
function daemonTrees(root: string): string[] {
  const folders = namesIn(join(root, 'var/lib')).map((name) => `var/lib/${name}`);
  return folders.filter((place) =>
    [place, `${place}/${stateBelowRoot}`].some((state) => isStateTree(root, state)),
  );
}

/** The place of a path from the root, as a byte string; none for the root itself and for what is not below it. */
function placeBelow(root: string, path: string): string[] {
  const place = relative(root, path);
  return place === '' || place === '..' || place.startsWith('../') ? [] : [byteString(place)];
}

/** A tree of ours, also when a link leads there. */
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
  const ours = [...placesOf(root, paths.state), ...placesOf(root, join(root, stateOfService))];
  const kept = [...mountPlaces(root), ...hostKeys(root), ...ours, ...daemonTrees(root)];
  return { exclude: [...new Set([...runtimeFolders, ...secrets, ...kept])], blank: [...blanked] };
}
