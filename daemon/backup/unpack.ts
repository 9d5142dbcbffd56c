import { dirname, join } from 'node:path';
import { statePlaces } from '../config/paths.ts';
import { slotsLimits } from '../images/limits.ts';
import { decode } from '../images/stream.ts';
import { ensureFolder, removeFile, syncFileSystem } from '../kernel/files.ts';
import { openFolder } from '../kernel/openat.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { createSealed } from '../kernel/sealed.ts';
import { writeTree } from '../kernel/tree-write.ts';
import { archiveNames, badBackup, type Member, statePath } from './archive.ts';
import type { Archive } from './archive-reader.ts';
import { replacedFolders, restorePlaces } from './restored.ts';

/** How an unpacking is watched. */
export interface UnpackWork {
  signal: AbortSignal;
  /** Sees the bytes that were read so far. */
  onBytes(done: number): void;
}

/** Removes what was unpacked, whole or not. Safe to repeat. First the record that would make a start take it up. */
export async function dropUnpacked(state: string): Promise<void> {
  const { ready, folder, slots } = restorePlaces(state);
  await removeFile(ready).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await removeTree(slots);
  await removeTree(folder);
}

/**
 * Unpacks a whole backup beside the state, checking every digest; durable when this returns. Touches nothing else. Throws
 * what reading finds; what was written until then is dropped by `dropUnpacked`.
 */
export async function unpack(archive: Archive, state: string, work: UnpackWork): Promise<void> {
  const { folder, fresh, slots } = restorePlaces(state);
  await dropUnpacked(state);
  for (const path of [folder, fresh, slots]) await ensureFolder(path);
  for (const name of [...replacedFolders, statePlaces.trustedKeys])
    await ensureFolder(join(fresh, name));
  let done = 0;
  const read = async function* (member: Member): AsyncGenerator<Buffer> {
    for await (const piece of archive.read(member)) {
      work.signal.throwIfAborted();
      yield piece;
      done += piece.length;
      work.onBytes(done);
    }
  };
  const pieces = archive.members.filter(({ name }) => name.startsWith(archiveNames.slots));
  for (const member of archive.members) {
    if (pieces.includes(member)) break; // they are the last ones
    checkImage(member);
    if (member.name.startsWith(archiveNames.state))
      await writeFile(join(fresh, statePath(member.name)), read(member));
    else for await (const _ of read(member)); // its digest counts all the same
  }
  async function* stream(): AsyncGenerator<Buffer> {
    for (const piece of pieces) yield* read(piece);
  }
  using root = openFolder(slots);
  const items = decode(stream(), { kind: 'uppers', limits: slotsLimits });
  await writeTree(root, items);
  await syncFileSystem(slots);
  await syncFileSystem(folder);
}

/** A layer's name is its digest. */
function checkImage({ name, sha256 }: Member): void {
  const digest = /sha256-([0-9a-f]{64})\.erofs$/.exec(name)?.[1];
  if (digest !== undefined && digest !== sha256) throw badBackup(`${name} is another image`);
}

/** A file of the daemon's own; the database is written to later. */
async function writeFile(path: string, pieces: AsyncIterable<Buffer>): Promise<void> {
  const handle = await createSealed(path);
  try {
    for await (const piece of pieces) await handle.appendFile(piece);
    if (path.endsWith(statePlaces.database) && dirname(path).endsWith('new'))
      await handle.chmod(0o600);
  } finally {
    await handle.close();
  }
}
