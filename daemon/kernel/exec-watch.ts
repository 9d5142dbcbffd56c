import { closeSync, readSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import { Fd } from './fd.ts';
import { declareInt } from './libc.ts';

const init = declareInt('fanotify_init', ['uint', 'uint']);
const mark = declareInt('fanotify_mark', ['int', 'uint', 'u64', 'int', 'text']);
const poll = declareInt('poll', ['bytes', 'u64', 'int']);
const eventfd = declareInt('eventfd', ['uint', 'int']);

// Numbers of linux/fanotify.h, sys/eventfd.h and poll.h.
const FAN_CLOEXEC = 0x1;
const FAN_NONBLOCK = 0x2;
const FAN_MARK_ADD = 0x1;
const FAN_MARK_FLUSH = 0x80;
const FAN_OPEN_EXEC = 0x1000;
const FAN_Q_OVERFLOW = 0x4000n;
const EVENT_BYTES = 24; // struct fanotify_event_metadata
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const AT_FDCWD = -100;
const POLLIN = 1;
const POLL_BYTES = 8; // struct pollfd

/** How long a thread of the pool waits at one time: a process that ends otherwise than by `close` waits for it. */
const WAIT_MS = 5_000;
/** Between two looks: who starts programs without end wakes nobody more often. */
const GAP_MS = 20;

/**
 * Tells which process begins to execute one of some files, by fanotify: nothing runs until one does. A thread of the pool
 * waits for it, since no loop of Node can.
 */
export class ExecWatch {
  readonly #events: Fd;
  readonly #wake = new Fd(eventfd(0, O_CLOEXEC | O_NONBLOCK), 'eventfd');
  readonly #heard: (pid: number | undefined) => void;
  readonly #buffer = Buffer.alloc(EVENT_BYTES * 256);
  #closed = false;
  #listening: Promise<void> | undefined;

  /**
   * @param heard is given the process; it may not have become the program yet. Undefined: some were lost.
   * Throws KernelError where the kernel has no such watch, or does not let this process have one.
   */
  constructor(heard: (pid: number | undefined) => void) {
    this.#heard = heard;
    try {
      this.#events = new Fd(init(FAN_CLOEXEC | FAN_NONBLOCK, O_CLOEXEC), 'fanotify');
    } catch (error) {
      this.#wake.close();
      throw error;
    }
  }

  /** Watches these files, and no others. Answers how many of them can be watched. */
  watch(files: readonly Fd[]): number {
    mark(this.#events.number, FAN_MARK_FLUSH, 0, AT_FDCWD, null);
    const watched = files.filter((file) => this.#add(file)).length;
    if (watched > 0) this.#listening ??= this.#listen();
    return watched;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const one = Buffer.alloc(8);
    one.writeBigUInt64LE(1n);
    writeSync(this.#wake.number, one);
    await this.#listening;
    this.#events.close();
    this.#wake.close();
  }

  #add(file: Fd): boolean {
    try {
      // By its own descriptor: the link of /proc is followed, which names this very file.
      mark(this.#events.number, FAN_MARK_ADD, FAN_OPEN_EXEC, AT_FDCWD, file.path);
      return true;
    } catch (error) {
      if (failedWith(error, 'ENOSPC', 'EINVAL', 'ENODEV', 'EOPNOTSUPP', 'EXDEV')) return false;
      throw error;
    }
  }

  async #listen(): Promise<void> {
    const waited = Buffer.alloc(2 * POLL_BYTES);
    for (const [at, { number }] of [this.#events, this.#wake].entries()) {
      waited.writeInt32LE(number, at * POLL_BYTES);
      waited.writeInt16LE(POLLIN, at * POLL_BYTES + 4);
    }
    while (!this.#closed) {
      // Where it cannot wait (EINTR, ENOMEM) it looks all the same.
      await poll.later(waited, 2, WAIT_MS).catch(() => undefined);
      if (this.#closed) return;
      this.#read();
      await pause(GAP_MS);
    }
  }

  /** All that has happened so far, each process once. */
  #read(): void {
    const pids = new Set<number | undefined>();
    for (;;) {
      const length = this.#readOnce();
      if (length === undefined) pids.add(undefined);
      if (length === undefined || length === 0) break;
      for (let at = 0; at < length; at += this.#buffer.readUInt32LE(at)) {
        const file = this.#buffer.readInt32LE(at + 16);
        if (file >= 0) closeSync(file);
        const lost = (this.#buffer.readBigUInt64LE(at + 8) & FAN_Q_OVERFLOW) !== 0n;
        pids.add(lost ? undefined : this.#buffer.readInt32LE(at + 20));
      }
    }
    for (const pid of pids) this.#heard(pid);
  }

  /** Undefined: an event could not be told, and is lost. */
  #readOnce(): number | undefined {
    try {
      return readSync(this.#events.number, this.#buffer);
    } catch (error) {
      return failedWith(error, 'EAGAIN') ? 0 : undefined;
    }
  }
}
