import { constants, mkdirSync, openSync } from 'node:fs';
import { PersonaError } from '../../../ipc/errors.ts';
import { formatSize } from '../../../ipc/values.ts';
import { type AnyTask, defineTask, type TaskContext } from '../../changes/task.ts';
import { localSpaceOf } from '../../kernel/disk-usage.ts';
import { failedWith } from '../../kernel/errno.ts';
import { ext4Maker, makeExt4, readExt4 } from '../../kernel/ext4.ts';
import { Fd } from '../../kernel/fd.ts';
import { cutFile, writeInPlace } from '../../kernel/file-blocks.ts';
import { exists, moveDurably, removeFile, syncFile, syncFileSystem } from '../../kernel/files.ts';
import { giveBack, openImage } from '../backing.ts';
import { ballastRanges, fillBallast } from '../ballast.ts';
import { ended, takeOff } from '../mounted.ts';
import { dropVolume, writeVolume } from '../record.ts';
import type { VolumesRoom } from '../room.ts';
import { journalBytesOf, labelOf, type Volume } from '../volume.ts';

export interface MakeImageParams {
  volume: Volume;
  bytes: number;
}

/** One inode for so many bytes: half as many as for a tree of small files, because tables are made for the limit. */
const BYTES_PER_INODE = 32_768;

/** True when the image of this very volume lies at its place. */
async function isThere(room: VolumesRoom, { name, uuid }: Volume): Promise<boolean> {
  const { image } = room.places(name);
  return (await exists(image)) && readExt4(image)?.uuid === uuid;
}

/** Takes away what an interrupted making left. */
async function clear(room: VolumesRoom, { name }: Volume): Promise<void> {
  const places = room.places(name);
  if (!(await exists(places.making))) return;
  await takeOff(places);
  await ended(places.making, places.makingName);
  await removeFile(places.making);
}

async function makeFileSystem(room: VolumesRoom, { volume, bytes }: MakeImageParams) {
  const maker = ext4Maker();
  if (maker === undefined)
    throw new PersonaError('tool-missing', {
      tool: 'mkfs.ext4',
      fix: '`apt install e2fsprogs`',
      reason: 'the file system of a volume is made with it',
    });
  const { making } = room.places(volume.name);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  using file = new Fd(openSync(making, flags, 0o600), making);
  await writeInPlace(file);
  await cutFile(file, volume.limitBytes);
  const shape = { bytesPerInode: BYTES_PER_INODE, journalBytes: journalBytesOf(bytes) };
  await makeExt4(maker, making, volume.uuid, labelOf(volume.name), shape);
}

/** Fills all but `bytes` of the new file system with ballast, and sets the rest of its image aside. */
async function reserve(
  room: VolumesRoom,
  { volume, bytes }: MakeImageParams,
  context: TaskContext,
): Promise<void> {
  const { making, makingName, data, ballast, whole } = room.places(volume.name);
  await room.hold(volume, making, makingName);
  mkdirSync(data, { mode: 0o755, recursive: true });
  await fillBallast(ballast, volume.limitBytes - bytes, context.signal);
  await context.fault('volumes:filled');
  await syncFileSystem(whole);
  await room.hold(volume, making, makingName);
  await context.fault('volumes:owned');
  {
    using file = openImage(making);
    await giveBack(file, await ballastRanges(ballast));
  }
  await room.check(volume.name, making);
}

async function make(
  room: VolumesRoom,
  params: MakeImageParams,
  context: TaskContext,
): Promise<void> {
  const { volume, bytes } = params;
  const places = room.places(volume.name);
  await makeFileSystem(room, params);
  await context.fault('volumes:made');
  await reserve(room, params, context);
  const missing = room.missing(volume.name);
  await takeOff(places);
  await ended(places.making, places.makingName);
  if (missing > 0)
    throw new PersonaError('no-space', {
      needed: formatSize(bytes),
      free: formatSize(localSpaceOf(room.folder).availableBytes),
      path: room.folder,
    });
  await syncFile(places.making);
  await writeVolume(volume, places);
  await moveDurably(places.making, places.image);
}

/** Makes the image of a volume, whole under another name, with all its blocks its own. */
export function makeImageTask(room: VolumesRoom): AnyTask {
  return defineTask<MakeImageParams>({
    kind: 'volumes.make-image',
    summary: ({ volume, bytes }) =>
      `make the volume ${volume.name} of ${formatSize(bytes)}, which can grow to ${formatSize(volume.limitBytes)}`,
    async do(context, params) {
      const { image } = room.places(params.volume.name);
      if (await isThere(room, params.volume)) return;
      if (await exists(image)) throw new PersonaError('already-exists', { what: image });
      await clear(room, params.volume);
      try {
        await make(room, params, context);
      } catch (error) {
        if (!failedWith(error, 'EOPNOTSUPP')) throw error;
        throw new PersonaError('capability-missing', {
          capability: `setting blocks aside and giving them back (fallocate) in ${room.folder}`,
        });
      }
    },
    async undo(_context, { volume }) {
      await clear(room, volume);
      const places = room.places(volume.name);
      if (await isThere(room, volume)) {
        await takeOff(places);
        await removeFile(places.image);
      }
      if (!(await exists(places.image))) await dropVolume(places);
      room.forget(volume.name);
    },
  });
}
