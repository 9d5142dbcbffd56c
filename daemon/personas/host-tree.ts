import { readdirSync } from 'node:fs';
import { relative } from 'node:path';
import type { Paths } from '../config/paths.ts';
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

/** The names of this machine's private host keys. */
function hostKeys(): string[] {
  try {
    const names = readdirSync('/etc/ssh', { encoding: 'latin1' });
    return names.filter((name) => name.startsWith('ssh_host_')).map((name) => `etc/ssh/${name}`);
  } catch {
    return [];
  }
}

/** Where other file systems are mounted: what they cover is no part of the installed system either. */
function mountPlaces(): string[] {
  return readMountinfo()
    .map(({ at }) => byteString(relative('/', at)))
    .filter((place) => place !== '');
}

function byteString(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** What a base of the running system leaves out: runtime folders, other mounts, secrets, and our own trees. */
export function hostOmissions(paths: Pick<Paths, 'state'>): HostOmissions {
  const own = byteString(relative('/', paths.state));
  const places = [...runtimeFolders, ...mountPlaces(), ...secrets, ...hostKeys(), own];
  return { exclude: [...new Set(places)], blank: [...blanked] };
}
