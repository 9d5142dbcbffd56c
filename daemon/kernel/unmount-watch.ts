import { readSync } from 'node:fs';
import { failedWith, withDetail } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

// Numbers of sys/inotify.h.
const IN_NONBLOCK = 0x800;
const IN_CLOEXEC = 0x80000;
/** Any event to watch for will do: the end of the file system is reported always. A root folder is never moved. */
const IN_MOVE_SELF = 0x800;
const IN_UNMOUNT = 0x2000;
const IN_IGNORED = 0x8000;
const HEADER = 16; // struct inotify_event without its name

/** How often the queue is read while something is watched, milliseconds; nothing runs otherwise. */
const LOOK_MS = 25;
/** After this long without news the watch looks less often, down to once in a second. */
const SLOWEST_MS = 1_000;

const init = declareInt('inotify_init1', ['int']);
const addWatch = declareInt('inotify_add_watch', ['int', 'text', 'uint']);

/** Tells when file systems have ended: when no process, namespace or descriptor holds them any more. */
export class UnmountWatch {
  #inotify: Fd | undefined;
  #waiting = new Map<number, () => void>();
  #timer: NodeJS.Timeout | undefined;
  #pause = LOOK_MS;
  #events = Buffer.alloc(4096);

  /** Number of file systems that have not ended yet. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Calls `ended` once, when the file system of `tree` is gone. The watch does not keep it alive. */
  watch(tree: Fd, ended: () => void): void {
    this.#inotify ??= new Fd(init(IN_NONBLOCK | IN_CLOEXEC), 'inotify');
    try {
      const id = addWatch(this.#inotify.number, tree.path, IN_MOVE_SELF);
      const earlier = this.#waiting.get(id); // one watch per inode: a second caller shares it
      this.#waiting.set(id, () => {
        earlier?.();
        ended();
      });
    } catch (error) {
      throw withDetail(error, tree.what);
    }
    this.hurry();
  }

  /** Looks soon again: for callers that have just released something. */
  hurry(): void {
    this.#pause = LOOK_MS;
    clearTimeout(this.#timer);
    this.#schedule();
  }

  /** Reads what has happened, now. */
  look(): void {
    for (let rounds = 0; rounds < 64 && this.#readOnce(); rounds += 1);
  }

  #readOnce(): boolean {
    if (this.#inotify === undefined || this.#inotify.closed) return false;
    let length = 0;
    try {
      length = readSync(this.#inotify.number, this.#events);
    } catch (error) {
      if (failedWith(error, 'EAGAIN')) return false;
      throw error;
    }
    for (let at = 0; at + HEADER <= length; at += HEADER + this.#events.readUInt32LE(at + 12)) {
      const id = this.#events.readInt32LE(at);
      if ((this.#events.readUInt32LE(at + 4) & (IN_UNMOUNT | IN_IGNORED)) === 0) continue;
      const ended = this.#waiting.get(id);
      this.#waiting.delete(id);
      ended?.();
    }
    return true;
  }

  #schedule(): void {
    if (this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => {
      const before = this.#waiting.size;
      this.look();
      const slower = Math.min(this.#pause * 1.5, SLOWEST_MS);
      this.#pause = this.#waiting.size < before ? LOOK_MS : slower;
      this.#schedule();
    }, this.#pause);
    this.#timer.unref();
  }

  /** Forgets everything. */
  close(): void {
    clearTimeout(this.#timer);
    this.#waiting.clear();
    this.#inotify?.close();
  }
}
