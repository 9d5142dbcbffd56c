import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Needs, run } from '../support/needs.ts';

const program = fileURLToPath(new URL('./logging-disk.ts', import.meta.url));

/**
 * Mount options under which ext4 makes nothing durable that nobody asked for: it commits by itself only every five
 * minutes, does not flush a file because it is renamed over another, and times alone are no reason to write an inode
 * (with them in the journal, every commit of the database would make everything before it durable).
 */
export const harsh = 'lazytime,commit=300,noauto_da_alloc';

/** What a machine must have for recorded disks. */
export const recordedDiskNeeds: Needs = {
  root: true,
  tools: ['mkfs.ext4', 'e2fsck', 'mount', 'truncate', 'cp'],
  other: () => (existsSync('/dev/fuse') ? undefined : 'needs /dev/fuse'),
};

/** An ext4 disk of which every write and every flush is written down. */
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

/** Makes the folder an ext4 image of `mib` at `image`, with everything that mkfs may leave for later done at once. */
function makeImage(image: string, mib: number): void {
  run('truncate', '-s', `${mib}M`, image);
  const now = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  run('mkfs.ext4', '-q', '-F', '-m', '0', '-E', now, image);
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
  options = harsh,
): Promise<RecordedDisk> {
  mkdirSync(folder, { recursive: true });
  const image = join(folder, 'image');
  const blank = join(folder, 'blank');
  const log = join(folder, 'log');
  const file = join(folder, 'disk');
  makeImage(image, mib);
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
    run('mount', '-o', `loop,${options}`, file, at);
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
