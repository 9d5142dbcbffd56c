import { fstatSync } from 'node:fs';
import { readKnob, writeKnob } from './cgroups.ts';
import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { OPEN, openBeneath, openFolder } from './openat.ts';

/** A group held open: what is read and written is this very group, whatever has its path by then. */
export interface HeldGroup {
  /** Its inode id in its hierarchy. Never used twice within a boot. */
  id: string;
  read(knob: string): string | undefined;
  /**
   * Writes in the thread pool and waits for `deadlineMs` at most: a limit that is lowered reclaims before the write
   * returns, at worst for ever. Newer kernels leave that to the group when the file is opened so. ETIMEDOUT: the
   * write still runs.
   */
  write(knob: string, value: string, deadlineMs: number): Promise<void>;
  /** Resolves when no write runs any more, also one that was given up. */
  settled(): Promise<void>;
  /** Lets go of the group, when the last write has returned. */
  close(): void;
}

const GONE = ['ENOENT', 'ENODEV', 'ENOTDIR', 'ELOOP', 'EXDEV'];

/**
 * Opens the group `relative` below the mounted hierarchy `root`, without following a link or leaving it. Undefined when
 * there is none.
 */
export function holdGroup(root: string, relative: string): HeldGroup | undefined {
  let fd: Fd;
  try {
    using folder = openFolder(root);
    fd = openBeneath(folder, Buffer.from(relative).toString('latin1'), { flags: OPEN.folder });
  } catch (error) {
    if (failedWith(error, ...GONE)) return undefined;
    throw error;
  }
  let running: Promise<unknown> | undefined;
  return {
    id: String(fstatSync(fd.number, { bigint: true }).ino),
    read: (knob) => readKnob(fd.path, knob),
    async write(knob, value, deadlineMs) {
      const writing = writeKnob(fd.path, knob, value, { nonBlocking: true });
      running = Promise.allSettled([running, writing]);
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(
        () => late.reject(new KernelError('write', 'ETIMEDOUT', `${value} to ${knob}`)),
        deadlineMs,
      );
      try {
        await Promise.race([writing, late.promise]);
      } finally {
        clearTimeout(timer);
      }
    },
    async settled() {
      await running;
    },
    close() {
      // A write finds its file by this very descriptor.
      if (running === undefined) fd.close();
      else void running.finally(() => fd.close());
    },
  };
}
