import type { Limits } from './limits.ts';
import type { SequenceKind } from './sequence.ts';
import type { Tree } from './tree.ts';

/** How a reader is opened. */
export interface OpenOptions {
  limits: Limits;
  /** Where the image begins in the file, in bytes (a partition, a member of an archive). */
  offset?: number;
  /** 'layer' accepts whiteouts and opaque folders (a diff image); 'tree', the default, refuses them. */
  kind?: SequenceKind;
  /** Bytes of the image, where the file (or device) does not say it or holds more. */
  size?: number;
  /**
   * An empty file, opened for reading and writing, for what must be unpacked before it can be read
   * (compressed input, container images). Its reader appends; the caller throws it away.
   */
  spoolFd?: number;
  /** Of a disk image: the partition that is meant, counted from 1. */
  partition?: number;
}

/**
 * Opens a foreign image or archive as a tree. The descriptor stays the caller's; a `path` is given
 * for formats that are folders (an unpacked OCI layout).
 */
export type OpenTree = (fd: number, options: OpenOptions) => Promise<Tree>;

/**
 * Every format that can be read, by the name used on the command line of the worker. 'auto' goes by
 * the magic numbers of the file. Each is loaded only when it is asked for.
 */
export const readers: Record<string, () => Promise<OpenTree>> = {
  auto: async () => (await import('./open-image.ts')).openImage,
  erofs: async () => (await import('./erofs-reader.ts')).openErofs,
  ext4: async () => (await import('./ext4-reader.ts')).openExt4,
  oci: async () => (await import('./oci-reader.ts')).openOci,
  squashfs: async () => (await import('./squashfs-reader.ts')).openSquashfs,
  tar: async () => (await import('./tar-reader.ts')).openTar,
};
