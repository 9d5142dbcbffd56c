import { isAbsolute, join } from 'node:path';

/** The four trees of a running daemon. */
export interface Paths {
  /** Settings: `persona.toml` and `conf.d/`. */
  etc: string;
  /** Database, images, uppers. 0700 for ever: what a user may see appears elsewhere. */
  state: string;
  /** Sockets, the lock, the slots. */
  run: string;
  /** Files shipped with the program. */
  share: string;
  /** The folder they are all below, where they are not the machine's own. */
  root?: string;
}

/** Where things are: the machine's own trees, or, when `root` is given, four folders below it. */
export function pathsOf(root: string | undefined): Paths {
  if (root === undefined || root === '')
    return {
      etc: '/etc/persona',
      state: '/var/lib/persona',
      run: '/run/persona',
      share: '/usr/share/persona',
    };
  if (!isAbsolute(root)) throw new TypeError(`PERSONA_ROOT must be an absolute path, not ${root}`);
  return {
    etc: join(root, 'etc'),
    state: join(root, 'state'),
    run: join(root, 'run'),
    share: join(root, 'share'),
    root,
  };
}

/** Fixed places inside the state tree, relative to it. One list, so that nobody spells them twice. */
export const statePlaces = {
  lock: '.lock',
  database: 'personad.db',
  reserve: 'reserve',
  mark: 'mark.json',
  keys: 'keys',
  trustedKeys: 'keys/trusted',
  machineKey: 'keys/machine.ed25519',
  layers: 'layers',
  personas: 'personas',
  slots: 'slots',
  upperImage: 'uppers.ext4',
  upperRecord: 'uppers.json',
  volumes: 'volumes',
  enclaves: 'enclaves',
  staging: 'staging',
  /** Images of fast partitions on the disk. */
  fast: 'fast',
  quarantine: 'quarantine',
  /** A backup that was read and waits to take the place of everything else, and what slots hold in it. */
  restore: 'restore',
  restoreSlots: 'slots/.restore',
} as const;

/** Fixed places inside the run tree, relative to it. */
export const runPlaces = {
  userSocket: 'user.sock',
  controlSocket: 'control.sock',
  lock: 'lock',
  slots: 'slots',
  /** Fast partitions, each mounted at its name. */
  fast: 'fast',
  volumes: 'volumes',
  /** All of each volume, for root alone. */
  wholeVolumes: 'volumes/.whole',
  /** Enclaves that are open, each at a folder of its name. */
  enclaves: 'enclaves',
  /** The system calls of applications that are kept apart, for bubblewrap. */
  applicationFilter: 'application.bpf',
  /** A note for each that runs. */
  apart: 'apart',
  /** What they are shown of /etc. */
  applicationSettings: 'settings',
  /** Groups of programs that a writer may have stopped: a file for each session. */
  stops: 'stops',
  /** Knobs of the machine that are ours for now, and how they go back. */
  leases: 'leases.json',
} as const;
