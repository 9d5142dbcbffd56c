import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mountImage } from '../support/mount-image.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Needs, run } from '../support/needs.ts';

const program = fileURLToPath(new URL('./logging-disk.ts', import.meta.url));

/** A kind of file system, made and mounted so that it makes nothing durable that nobody asked for. */
export interface Kind {
  make: readonly string[];
  options: string;
  /** Looks at an image that is not mounted; fails when its structure is damaged. */
  check: readonly string[];
  /** Where a write is taken to happen wholly or not at all: on half of what lies there it is never mounted again, whatever was written else. */
  whole: readonly number[];
}

export const kinds = {
  /**
   * Commits by itself only every five minutes, does not flush a file because it is renamed over another, and times alone
   * are no reason to write an inode. A commit of its journal still carries everything that came before it.
   */
  ext4: {
    make: ['mkfs.ext4', '-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0'],
    options: 'lazytime,commit=300,noauto_da_alloc',
    check: ['e2fsck', '-fn'],
    whole: [],
  },
  /** A sync of one file makes that file durable, and of other names and files nothing. */
  btrfs: {
    make: ['mkfs.btrfs', '-q', '-f', '--mixed'],
    options: 'lazytime,commit=300',
    check: ['btrfs', 'check', '--readonly'],
    // The superblock, which has a checksum of its 4 KiB, and no copy on a disk of this size.
    whole: [64 * 1024],
  },
} satisfies Record<string, Kind>;

/** What a machine must have for a recorded disk of this kind. */
export function needsRecordedDisk({ make, check }: Kind): Needs {
  return {
    root: true,
    tools: ['mount', 'truncate', 'cp', make[0] ?? '', check[0] ?? ''],
    other: () => {
      const known = readFileSync('/proc/filesystems', 'ascii').split(/\s+/);
      const missing = ['fuse', type(make)].find((name) => !known.includes(name));
      if (missing !== undefined) return `needs a kernel with ${missing}`;
      return existsSync('/dev/fuse') ? undefined : 'needs /dev/fuse';
    },
  };
}

/** The name the kernel has for what `mkfs.NAME` makes. */
const type = ([tool = '']: readonly string[]): string => tool.replace('mkfs.', '');

/** A disk of which every write and every flush is written down. */
export interface RecordedDisk {
  /** The image as it was before the first write. */
  blank: string;
  /** Every write and flush since then (write-log.ts). */
  log: string;
  /** How many bytes of the log there are now: what is done by now ends before this. */
  position(): number;
  /** Takes the disk off and ends its server. Safe to repeat. */
  end(): Promise<void>;
}

/** Makes an image of `mib`. */
function makeImage(image: string, mib: number, { make: [tool = '', ...words] }: Kind): void {
  run('truncate', '-s', `${mib}M`, image);
  run(tool, ...words, image);
}

/** Mounts FUSE on a file: its root is that file itself. Returns the process that serves it. */
function serve(file: string, image: string, log: string): ChildProcess {
  const fuse = openSync('/dev/fuse', 'r+');
  try {
    const server = spawn(process.execPath, ['--no-warnings', program, image, log], {
      stdio: ['ignore', 'inherit', 'inherit', fuse],
    });
    const options = 'fd=3,rootmode=100000,user_id=0,group_id=0';
    const words = ['-i', '-t', 'fuse', '-o', options, 'personad-test-disk', file];
    execFileSync('mount', words, { stdio: ['ignore', 'pipe', 'inherit', fuse] });
    return server;
  } finally {
    closeSync(fuse);
  }
}

/** Makes a disk of `mib`, recorded from here on, and mounts it at `at`; its files stay in `folder` when it has ended. */
export async function startRecordedDisk(
  folder: string,
  at: string,
  mib: number,
  kind: Kind = kinds.ext4,
): Promise<RecordedDisk> {
  mkdirSync(folder, { recursive: true });
  const image = join(folder, 'image');
  const blank = join(folder, 'blank');
  const log = join(folder, 'log');
  const file = join(folder, 'disk');
  makeImage(image, mib, kind);
  run('cp', '--sparse=always', image, blank);
  writeFileSync(file, '');
  const server = serve(file, image, log);
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const end = async () => {
    await unmountBelow(at);
    await unmountBelow(file);
    const late = setTimeout(() => server.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(late);
  };
  try {
    mkdirSync(at, { recursive: true, mode: 0o700 });
    mountImage(file, at, kind.options);
  } catch (error) {
    server.kill('SIGKILL');
    await end();
    throw error;
  }
  return { blank, log, position: () => statSync(log).size, end };
}

/** Copies an image, holes and all. */
export function copyImage(from: string, to: string): void {
  run('cp', '--sparse=always', from, to);
}
