import type { Fd } from './fd.ts';
import { createMount, type FsOption, MOUNT_ATTR } from './fs-context.ts';
import { attachLoop } from './loops.ts';

/**
 * How an image file becomes a mount: `file` (the kernel reads the file itself), `file-offset` (the same,
 * also from inside a container file), `loop` (through a loop device).
 */
export type ErofsWay = 'file-offset' | 'file' | 'loop';

export interface ErofsImage {
  /** The verified image itself, open for reading; it is mounted by descriptor. */
  file: Fd;
  /** Where the image begins in the file, bytes, a multiple of 4096; and its length (loop devices need it). */
  offset?: number;
  size?: number;
}

/** The way to mount an image that begins at `offset`, given the best this machine has. */
export function wayFor(best: ErofsWay, offset: number): ErofsWay {
  return best === 'file' && offset > 0 ? 'loop' : best;
}

/** Mounts an erofs image, attached nowhere: read-only, nosuid, nodev, noatime. */
export async function mountErofs(image: ErofsImage, way: ErofsWay): Promise<Fd> {
  const flags = MOUNT_ATTR.readOnly | MOUNT_ATTR.nosuid | MOUNT_ATTR.nodev | MOUNT_ATTR.noatime;
  const offset = image.offset ?? 0;
  if (wayFor(way, offset) === 'loop') return mountByLoop(image, flags);
  const options: FsOption[] = [{ key: 'source', text: image.file.path }, { key: 'ro' }];
  if (offset > 0) options.push({ key: 'fsoffset', text: String(offset) });
  return createMount('erofs', options, flags);
}

async function mountByLoop(image: ErofsImage, flags: number): Promise<Fd> {
  const { offset = 0, size = 0 } = image;
  const loop = await attachLoop(image.file, { offset, size });
  try {
    return await createMount('erofs', [{ key: 'source', text: loop.path }, { key: 'ro' }], flags);
  } finally {
    await loop.device.closeLater(); // the mount keeps the device; without a mount it frees itself
  }
}
