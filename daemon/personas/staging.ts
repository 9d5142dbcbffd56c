import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { statePlaces } from '../config/paths.ts';
import { ensureFolder, exists, moveDurably, removeFile } from '../kernel/files.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { createSealed, openSealed } from '../kernel/sealed.ts';
import type { PersonasRoom } from './room.ts';

/** Names of what one change keeps in its staging folder. */
export const staged = {
  tree: 'tree',
  diff: 'diff',
  seed: 'seed',
  config: 'config',
  applications: 'applications',
  upload: 'upload.osp',
  wanted: 'wanted.erofs',
  difference: 'difference.erofs',
  seedImage: 'seed.erofs',
  runtimeImage: 'runtime.erofs',
  packed: 'persona.osp',
  spool: 'spool',
} as const;

/** Where an input is: a file that was received and staged, or a path that root named. */
export type Input = { kind: 'staged' } | { kind: 'path'; path: string };

/** A part of a staged file. */
export interface Place {
  /** Name in the staging folder of the change. */
  file: string;
  offset: number;
  size: number;
}

/** The folder of one change: everything it has not yet committed. */
export class Staging {
  readonly folder: string;
  readonly #room: Pick<PersonasRoom, 'paths' | 'space'>;

  constructor(room: Pick<PersonasRoom, 'paths' | 'space'>, changeId: number) {
    this.#room = room;
    this.folder = join(room.paths.state, statePlaces.staging, `change-${changeId}`);
  }

  /** Bytes that may be written in it beside what is kept free. */
  spareBytes(): number {
    return this.#room.space.spareBytes();
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async make(): Promise<void> {
    await ensureFolder(this.folder);
  }

  /** Removes everything in it, and it. Safe to repeat. */
  async remove(): Promise<void> {
    await removeTree(this.folder);
  }

  /** Takes over a received file. Safe to repeat. */
  async take(path: string, name: string): Promise<void> {
    if (!(await exists(path)) && (await exists(this.path(name)))) return;
    await moveDurably(path, this.path(name));
  }

  async has(name: string): Promise<boolean> {
    return await exists(this.path(name));
  }

  async drop(name: string): Promise<void> {
    await removeFile(this.path(name));
  }

  /** Opens a staged file for reading; the caller closes it. */
  async open(name: string): Promise<FileHandle> {
    return await openSealed(this.path(name));
  }

  /** Makes a file anew, in place of one that an earlier run left; the caller closes it. */
  async create(name: string): Promise<FileHandle> {
    await this.drop(name);
    return await createSealed(this.path(name));
  }

  /** Writes a small file durably, in place of one that an earlier run left. Returns its place. */
  async write(name: string, bytes: Uint8Array): Promise<Place> {
    const handle = await this.create(name);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return { file: name, offset: 0, size: bytes.length };
  }

  /** The whole of a staged file. */
  async whole(name: string): Promise<Place> {
    const handle = await this.open(name);
    try {
      return { file: name, offset: 0, size: (await handle.stat()).size };
    } finally {
      await handle.close();
    }
  }
}

/** Bytes of one read and write. */
const pieceBytes = 1 << 20;

/** Copies one open file into another, from the start, and syncs it. `onBytes` sees the count as it grows. */
export async function copyBytes(
  from: FileHandle,
  to: FileHandle,
  { signal, onBytes }: { signal: AbortSignal; onBytes?: (done: number) => void },
): Promise<void> {
  const piece = Buffer.allocUnsafe(pieceBytes);
  for (let done = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await from.read(piece, 0, piece.length, done);
    if (bytesRead === 0) break;
    await writeAt(to, piece.subarray(0, bytesRead), done);
    done += bytesRead;
    onBytes?.(done);
  }
  await to.sync();
}

/** Writes all of `bytes` at `position`. */
export async function writeAt(to: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await to.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}
