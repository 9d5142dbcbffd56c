import { fstatSync, readlinkSync, statSync } from 'node:fs';
import type { Fd } from './fd.ts';
import { OPEN, openFolder, openInRoot } from './openat.ts';

/** Where programs are looked for by name, from the root of a machine. */
const folders = ['usr/local/bin', 'usr/bin', 'bin', 'usr/local/games', 'usr/games', 'usr/sbin'];

const MODE_TYPE = 0o170000n;
const MODE_FILE = 0o100000n;
const MODE_EXECUTE = 0o111n;
const MODE_OTHERS_WRITE = 0o022;

/** A program file. */
export interface InstalledProgram {
  /** As it was asked for. */
  path: string;
  /** Where the file itself lies, behind all links. */
  real: string;
  /** Numbers of the kernel, as text: the largest of them are too large for a number here. */
  device: string;
  inode: string;
}

function look(root: Fd, path: string): InstalledProgram | undefined {
  try {
    using file = openInRoot(root, Buffer.from(path.slice(1)).toString('latin1'), OPEN.path);
    const { mode, dev, ino } = fstatSync(file.number, { bigint: true });
    if ((mode & MODE_TYPE) !== MODE_FILE || (mode & MODE_EXECUTE) === 0n) return undefined;
    const base = readlinkSync(root.path);
    const real = readlinkSync(file.path);
    const below = base !== '/' && real.startsWith(`${base}/`) ? real.slice(base.length) : real;
    return { path, real: below, device: `${dev}`, inode: `${ino}` };
  } catch {
    // Not there, or not to be seen: it cannot be known by its file.
    return undefined;
  }
}

/** The program of this path or name on the machine whose root is open, without running it; undefined when there is none. */
export function installedProgram(root: Fd, program: string): InstalledProgram | undefined {
  if (program.startsWith('/')) return look(root, program);
  if (program.includes('/')) return undefined;
  for (const folder of folders) {
    const found = look(root, `/${folder}/${program}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The file that lies at an absolute path of the machine below `root` now; undefined when there is none that can be run. */
export function installedFile(root: string, path: string): InstalledProgram | undefined {
  using folder = openFolder(root);
  return look(folder, path);
}

/** A program file that is open, for nothing but its name; who has it closes it. */
export interface OpenProgram extends Pick<InstalledProgram, 'device' | 'inode'> {
  file: Fd;
}

/** The same, opened: for who watches it. */
export function openInstalled(root: string, path: string): OpenProgram | undefined {
  using folder = openFolder(root);
  try {
    const file = openInRoot(folder, Buffer.from(path.slice(1)).toString('latin1'), OPEN.path);
    const { dev, ino } = fstatSync(file.number, { bigint: true });
    return { file, device: `${dev}`, inode: `${ino}` };
  } catch {
    return undefined;
  }
}

/** Who can change an open program file besides root, in words; undefined when nobody can. */
export function changersOf(file: Fd): string | undefined {
  const { uid, mode } = fstatSync(file.number);
  if (uid !== 0) return `uid ${uid}, whose it is,`;
  return (mode & MODE_OTHERS_WRITE) === 0
    ? undefined
    : `more than root (mode ${(mode & 0o7777).toString(8)})`;
}

/** When a place was last changed; 0 when there is none. */
export function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
