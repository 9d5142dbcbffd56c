import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { attach } from '../../../daemon/kernel/mounts.ts';
import { mountTmpfs } from '../../../daemon/kernel/tmpfs.ts';
import { WriterChild } from '../../../daemon/writeback/writer-child.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';

/** An id that owns nothing on any machine. */
export const uid = 64_321;
const caller = { uid, gid: uid, groups: [] };

/** A user's home with one folder that is served from memory. */
export interface ServedHome {
  home: string;
  /** The folder on the disk. */
  disk: string;
  /** The partition in memory. */
  partition: string;
  /** What the program sees in its place. */
  memory: string;
  writer(): Promise<WriterChild>;
  /** A writer that only recovers what is left on the disk. */
  recoverer(): Promise<WriterChild>;
}

/** Makes the home, with its `folders`, in a folder of its own, or in a file system of `diskBytes`; memory has `memoryBytes`. All is gone after the test. */
export async function servedHome(
  t: ExecutionContext,
  { memoryBytes = 64 << 20, diskBytes = 0, frozenMsMax = 5000, folders = ['app'] } = {},
): Promise<ServedHome> {
  const root = mkdtempSync(join(tmpdir(), 'personad-served-'));
  t.teardown(async () => {
    await unmountBelow(root);
    rmSync(root, { recursive: true, force: true });
  });
  chmodSync(root, 0o711);
  const shape = { source: 'persona-test', uid, gid: uid };
  const place = async (name: string, bytes: number): Promise<string> => {
    const at = join(root, name);
    mkdirSync(at);
    if (bytes > 0) {
      const { mount } = await mountTmpfs({ ...shape, bytes });
      await attach(mount, at);
      await mount.closeLater();
    }
    return at;
  };
  const home = await place('home', diskBytes);
  const partition = await place('memory', memoryBytes);
  const memory = join(partition, '0', 'data');
  const disk = join(home, 'app');
  const originals = folders.map((path) => join(home, path));
  for (const one of originals) mkdirSync(one);
  for (const one of [home, ...originals, partition]) chownSync(one, uid, uid);
  const task = { caller, home, folders: folders.map((path) => ({ path })), frozenMsMax };
  const started = async (writer: Promise<WriterChild>): Promise<WriterChild> => {
    const one = await writer;
    t.teardown(() => one.end());
    return one;
  };
  return {
    home,
    disk,
    partition,
    memory,
    writer: () => started(WriterChild.start(task)),
    recoverer: () =>
      started(WriterChild.start({ caller, home, folders: task.folders, frozenMsMax })),
  };
}

/** What a program that does not run, or cannot be stopped, is to a write-back. */
export const idle = async () => ({
  populated: false,
  freezable: false,
  mapped: async () => new Set<string>(),
});
