import { readSync } from 'node:fs';
import { failedWith, withDetail } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const init = declareInt('inotify_init1', ['int']);
const addWatch = declareInt('inotify_add_watch', ['int', 'text', 'uint']);

// Numbers of sys/inotify.h.
const IN_NONBLOCK = 0x800;
const IN_CLOEXEC = 0x80000;
const IN_MODIFY = 0x2;
const IN_ATTRIB = 0x4;
const IN_CLOSE_WRITE = 0x8;
const IN_MOVED = 0x40 | 0x80;
const IN_CREATE = 0x100;
const IN_DELETE = 0x200;
const IN_Q_OVERFLOW = 0x4000;
const IN_EXCL_UNLINK = 0x4000000;
const IN_ONLYDIR = 0x1000000;
const IN_DONT_FOLLOW = 0x2000000;
const IN_ISDIR = 0x40000000;
/** The last is told as well when a file that was mapped for writing is let go of: what was written so shows in no time stamp of a tmpfs. */
const CONTENT = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE;
const NAMES = IN_MOVED | IN_CREATE | IN_DELETE;
const HEADER = 16; // struct inotify_event without its name
const READ_BYTES = 256 * 1024;

/** Something happened to a name in a watched folder. */
export interface TreeEvent {
  /** Of the folder, as `add` returned it. */
  watch: number;
  /** A byte string; empty: the folder itself. */
  name: string;
  /** Names have come or gone; otherwise the content or the metadata of this one was changed. */
  names: boolean;
  isFolder: boolean;
}

/** Watches folders one by one, and tells what was changed in them by whomever. */
export class TreeWatch {
  readonly #inotify = new Fd(init(IN_NONBLOCK | IN_CLOEXEC), 'inotify');
  readonly #buffer = Buffer.alloc(READ_BYTES);

  /** Watches an open folder, without what is below it. The number is the same for the same folder. Throws ENOSPC when it is one too many. */
  add(folder: Fd): number {
    // By its own descriptor: the link of /proc is followed, which names this very folder.
    const mask = CONTENT | NAMES | IN_ONLYDIR | IN_EXCL_UNLINK;
    try {
      return addWatch(this.#inotify.number, folder.path, mask & ~IN_DONT_FOLLOW);
    } catch (error) {
      throw withDetail(error, folder.what);
    }
  }

  /** What has happened since it was asked last, in order. Undefined when some of it was lost: too much happened. */
  read(): TreeEvent[] | undefined {
    const events: TreeEvent[] = [];
    let whole = true;
    for (;;) {
      const length = this.#readOnce();
      if (length === 0) return whole ? events : undefined;
      for (let at = 0; at + HEADER <= length; ) {
        const mask = this.#buffer.readUInt32LE(at + 4);
        const bytes = this.#buffer.readUInt32LE(at + 12);
        if ((mask & IN_Q_OVERFLOW) !== 0) whole = false;
        if ((mask & (CONTENT | NAMES)) !== 0)
          events.push({
            watch: this.#buffer.readInt32LE(at),
            name: this.#nameAt(at + HEADER, bytes),
            names: (mask & NAMES) !== 0,
            isFolder: (mask & IN_ISDIR) !== 0,
          });
        at += HEADER + bytes;
      }
    }
  }

  #nameAt(at: number, bytes: number): string {
    const name = this.#buffer.toString('latin1', at, at + bytes);
    const end = name.indexOf('\0');
    return end === -1 ? name : name.slice(0, end);
  }

  #readOnce(): number {
    try {
      return readSync(this.#inotify.number, this.#buffer);
    } catch (error) {
      if (failedWith(error, 'EAGAIN')) return 0;
      throw error;
    }
  }

  close(): void {
    this.#inotify.close();
  }
}
