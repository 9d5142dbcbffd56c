import { type FileHandle, stat } from 'node:fs/promises';
import { PersonaError } from '../../ipc/errors.ts';
import type { TaskContext } from '../changes/task.ts';
import { startWalker } from '../kernel/as-caller.ts';
import { diskUsageOf } from '../kernel/disk-usage.ts';
import { failedWith } from '../kernel/errno.ts';
import type { Child } from '../kernel/exec.ts';
import { openNamedFile } from '../kernel/named-file.ts';
import { hostOmissions } from './host-tree.ts';
import { buildImage, startWorker } from './image-children.ts';
import type { PersonasRoom } from './room.ts';
import { type Staging, staged } from './staging.ts';

/**
 * Where a base comes from: the running system (`root`: where it is seen, when not at /), what root named, or an upload, which is
 * moved into the staging folder first.
 */
export type BaseSource =
  | { kind: 'host'; root?: string }
  | { kind: 'path'; path: string; partition?: number }
  | { kind: 'upload'; path: string; partition?: number };

/** An entry stream on its way, and what has to be released after it. */
export interface OpenedSource {
  child: Child;
  /** Bytes to come, as far as one can know. */
  total?: number;
  /** How the source is called in lists. */
  name: string;
  close(): Promise<void>;
}

const walkDeadlineMs = 4 * 60 * 60_000;
const root = { uid: 0, gid: 0, groups: [] };
/** Name of the image of an unpacked container image in the staging folder. */
const layoutImage = 'layout.erofs';

/** What stands at a path that root named. */
async function kindOf(path: string): Promise<'folder' | 'file'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR')) throw new PersonaError('file-not-found', { path });
    throw error;
  }
}

async function isContainerFolder(path: string): Promise<boolean> {
  const [layout, etc] = await Promise.allSettled([stat(`${path}/oci-layout`), stat(`${path}/etc`)]);
  return layout.status === 'fulfilled' && etc.status === 'rejected';
}

/** Reads a file or image in a confined child, whatever its format. */
async function readFile(
  staging: Staging,
  file: FileHandle,
  name: string,
  partition?: number,
): Promise<OpenedSource> {
  let spool: FileHandle | undefined;
  const close = async (): Promise<void> => {
    await file.close();
    await spool?.close();
    await staging.drop(staged.spool);
  };
  try {
    spool = await staging.create(staged.spool);
    const chosen = partition === undefined ? [] : [`--partition=${partition}`];
    const child = await startWorker(['read', 'auto', '--spool=4', ...chosen], [file, spool], {
      space: staging,
    });
    return { child, name, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** An unpacked container image: walked into an image of its files, which is then read like an archive. */
async function readContainerFolder(
  staging: Staging,
  path: string,
  context: TaskContext,
): Promise<OpenedSource> {
  const child = await startWalker({ caller: root, path, deadlineMs: walkDeadlineMs });
  await buildImage(child, staging.path(layoutImage), { signal: context.signal, space: staging });
  return await readFile(staging, await staging.open(layoutImage), 'container image');
}

async function readHost(room: PersonasRoom, path = '/'): Promise<OpenedSource> {
  const { totalBytes, freeBytes } = await diskUsageOf(path);
  const child = await startWalker({
    caller: root,
    path,
    live: true,
    deadlineMs: walkDeadlineMs,
    ...hostOmissions(room.paths, path),
  });
  return { child, total: totalBytes - freeBytes, name: 'host', close: async () => {} };
}

/** Starts reading a base's source. Throws file-not-found, bad-value, or what the reader reports (from the child). */
export async function openBaseSource(
  room: PersonasRoom,
  staging: Staging,
  source: BaseSource,
  context: TaskContext,
): Promise<OpenedSource> {
  if (source.kind === 'host') return await readHost(room, source.root);
  const { path, partition } = source;
  if (source.kind === 'upload') {
    await staging.take(path, staged.upload);
    return await readFile(staging, await staging.open(staged.upload), 'upload', partition);
  }
  if ((await kindOf(path)) === 'file') {
    return await readFile(staging, await openNamedFile(path), 'file', partition);
  }
  if (partition !== undefined) {
    throw new PersonaError('bad-value', { name: '--partition', reason: `${path} is a folder` });
  }
  if (await isContainerFolder(path)) return await readContainerFolder(staging, path, context);
  const child = await startWalker({ caller: root, path, deadlineMs: walkDeadlineMs });
  return { child, name: 'folder', close: async () => {} };
}
