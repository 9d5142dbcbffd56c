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
}

/**
 * Opens a foreign image or archive as a tree. The descriptor stays the caller's; a `path` is given
 * for formats that are folders (an unpacked OCI layout).
 */
export type OpenTree = (fd: number, options: OpenOptions) => Promise<Tree>;

/** Every format that can be read, by the name used on the command line of the worker. */
export const readers: Record<string, () => Promise<OpenTree>> = {};
