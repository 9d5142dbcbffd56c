import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { lstat } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { startWalker } from '../kernel/as-caller.ts';
import type { Child } from '../kernel/exec.ts';
import { openNamedFile } from '../kernel/named-file.ts';
import { buildImage, saveOutput, startWorker, stepTimeoutMs, type Work } from './image-children.ts';
import { copyBytes, type Input, type Place, type Staging, staged } from './staging.ts';

/** The end mark of a tar, and nothing before it: the data seed of a persona without one. */
const emptySeed = gzipSync(Buffer.alloc(1024));
const emptyDigest = createHash('sha256').update(emptySeed).digest('hex');
const gzipMagic = Buffer.from([0x1f, 0x8b]);
const member = 'data_seed.tar.gz';

/**
 * Makes the member `data_seed.tar.gz`: a gzip is taken as it is (it is read and checked when its layer is built), any
 * other archive, image or folder becomes one.
 */
export async function seedMember(
  staging: Staging,
  input: Input | null,
  work: Work,
): Promise<Place> {
  if (input === null) return await staging.write(member, emptySeed);
  if (input.kind === 'path' && (await isFolder(input.path))) {
    const caller = { uid: 0, gid: 0, groups: [] };
    const walker = await startWalker({ caller, path: input.path, deadlineMs: stepTimeoutMs });
    return await packed(staging, walker, work);
  }
  const file =
    input.kind === 'path' ? await openNamedFile(input.path) : await staging.open(staged.seed);
  try {
    const head = Buffer.alloc(gzipMagic.length);
    await file.read(head, 0, head.length, 0);
    if (head.equals(gzipMagic)) return await copied(staging, file, work);
    const spool = await staging.create(staged.spool);
    try {
      const reader = await startWorker(['read', 'auto', '--spool=4'], [file, spool], {
        space: staging,
      });
      return await packed(staging, reader, work);
    } finally {
      await spool.close();
      await staging.drop(staged.spool);
    }
  } finally {
    await file.close();
  }
}

/** True for the seed that is written where there is none; another one has to be read to know. */
export function isEmptySeed(sha256: string): boolean {
  return sha256 === emptyDigest;
}

/** True for a folder that root named. A path that is not there fails where it is opened. */
export async function isFolder(path: string): Promise<boolean> {
  return await lstat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function copied(staging: Staging, file: FileHandle, work: Work): Promise<Place> {
  const out = await staging.create(member);
  try {
    await copyBytes(file, out, work);
  } finally {
    await out.close();
  }
  return await staging.whole(member);
}

/** A tree that comes as an entry stream, as the archive that the format asks for. */
async function packed(staging: Staging, source: Child, work: Work): Promise<Place> {
  await buildImage(source, staging.path(staged.seedImage), { ...work, space: staging });
  const image = await staging.open(staged.seedImage);
  const out = await staging.create(member);
  try {
    await saveOutput(await startWorker(['seed-tar'], [image]), out, work);
  } finally {
    await Promise.all([image.close(), out.close()]);
    await staging.drop(staged.seedImage);
  }
  return await staging.whole(member);
}
