import { readSync } from 'node:fs';
import { KernelError } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

// Numbers of linux/mount.h.
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_SET_FD = 5;
const FSCONFIG_CMD_CREATE = 6;
const FSCONFIG_CMD_RECONFIGURE = 7;
const FSPICK_CLOEXEC = 1;
const FSPICK_NO_AUTOMOUNT = 4;
const FSPICK_EMPTY_PATH = 8;
const AT_FDCWD = -100;

const fsopen = declareInt('fsopen', ['text', 'uint']);
const fsconfig = declareInt('fsconfig', ['int', 'uint', 'text', 'text', 'int']);
const fspick = declareInt('fspick', ['int', 'text', 'uint']);
const fsmount = declareInt('fsmount', ['int', 'uint', 'uint']);

/** Per-mount flags of fsmount and mount_setattr (linux/mount.h). */
export const MOUNT_ATTR = {
  readOnly: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  atimeMask: 0x70,
  noatime: 0x10,
  idmap: 0x100000,
} as const;

/** An option of a file system being configured: a flag, a string, or a descriptor. */
export type FsOption = { key: string; text?: string; fd?: Fd };

/** What the kernel had to say about a context: its queued messages, joined. Empty when silent. */
function wordsOf(context: Fd): string {
  const said: string[] = [];
  const line = Buffer.alloc(1024);
  for (let limit = 0; limit < 16; limit += 1) {
    try {
      const length = readSync(context.number, line);
      if (length <= 0) break;
      // "e overlay: text": the letter is the level.
      said.push(
        line
          .toString('utf8', 0, length)
          .trim()
          .replace(/^[ewi] /, ''),
      );
    } catch {
      break; // ENODATA: nothing more to say
    }
  }
  return said.join('; ');
}

function explain(error: unknown, context: Fd, what: string): unknown {
  if (!(error instanceof KernelError)) return error;
  const words = wordsOf(context);
  return new KernelError(error.syscall, error.code, words === '' ? what : `${what} (${words})`);
}

function setOption(context: Fd, option: FsOption): void {
  const { key, text, fd } = option;
  if (fd !== undefined) fsconfig(context.number, FSCONFIG_SET_FD, key, null, fd.number);
  else if (text !== undefined) fsconfig(context.number, FSCONFIG_SET_STRING, key, text, 0);
  else fsconfig(context.number, FSCONFIG_SET_FLAG, key, null, 0);
}

/**
 * Makes a mount that is attached nowhere. Creation reads the disk and may wait, so it runs in the thread pool.
 * @param type file system; @param options in the order given; @param flags MOUNT_ATTR bits of the mount.
 * Throws KernelError whose detail holds the kernel's own words.
 */
export async function createMount(type: string, options: FsOption[], flags: number): Promise<Fd> {
  const context = new Fd(fsopen(type, FSOPEN_CLOEXEC), `${type} context`);
  let doing = `${type} options`;
  try {
    for (const option of options) {
      doing = `${type} option ${option.key}${option.text === undefined ? '' : `=${option.text}`}`;
      setOption(context, option);
    }
    doing = `${type} mount`;
    await fsconfig.later(context.number, FSCONFIG_CMD_CREATE, null, null, 0);
    return new Fd(fsmount(context.number, FSMOUNT_CLOEXEC, flags), `${type} mount`);
  } catch (error) {
    throw explain(error, context, doing);
  } finally {
    context.close();
  }
}

function pick(root: string | Fd): Fd {
  const flags = FSPICK_CLOEXEC | FSPICK_NO_AUTOMOUNT;
  if (typeof root === 'string') return new Fd(fspick(AT_FDCWD, root, flags), root);
  return new Fd(fspick(root.number, '', flags | FSPICK_EMPTY_PATH), root.what);
}

/**
 * Gives a file system other options, in all its mounts in all namespaces.
 * @param root a path, or a descriptor on the root of a mount; @param what for messages, beside the kernel's own words.
 */
export async function reconfigure(
  root: string | Fd,
  options: readonly FsOption[],
  what: string,
): Promise<void> {
  const context = pick(root);
  try {
    for (const option of options) setOption(context, option);
    await fsconfig.later(context.number, FSCONFIG_CMD_RECONFIGURE, null, null, 0);
  } catch (error) {
    throw explain(error, context, what);
  } finally {
    context.close();
  }
}

/**
 * Makes the file system that is shown at `path` read-only, in all its mounts in all namespaces, or writable again; what it holds
 * back is written to the disk first. Throws EBUSY while any file in it is open for writing.
 */
export async function setReadOnly(path: string, readOnly: boolean): Promise<void> {
  const what = `${path} as ${readOnly ? 'read-only' : 'writable'}`;
  await reconfigure(path, [{ key: readOnly ? 'ro' : 'rw' }], what);
}

/** True when the running kernel knows `type` (opening a context loads its module). */
export function knowsFileSystem(type: string): boolean {
  try {
    new Fd(fsopen(type, FSOPEN_CLOEXEC), type).close();
    return true;
  } catch {
    return false;
  }
}
