import { PersonaError } from '../../ipc/errors.ts';
import { type ByteSource, fileSource, sourceBytes } from './byte-source.ts';
import { decompressed, defaultDecompressLimits } from './decompress.ts';
import { readErofs } from './erofs-reader.ts';
import { ext4Tree } from './ext4-reader.ts';
import { badImage } from './faults.ts';
import { detectFormat, type ImageFormat } from './format-detect.ts';
import { layerTarTree } from './layer-tar.ts';
import { isContainerImage, ociTree } from './oci-reader.ts';
import { ospMembers } from './osp-members.ts';
import { type Partition, readPartitions, rootPartition } from './partition-table.ts';
import type { OpenOptions } from './readers.ts';
import { spool, spoolOf } from './spool.ts';
import { squashfsTree } from './squashfs-reader.ts';
import { tarTree } from './tar-reader.ts';
import type { Tree } from './tree.ts';

/** A part of a file: what a wrapper holds. */
interface Part {
  fd: number;
  offset: number;
  size: number;
  /** Wrappers around it so far: a gzip of a partition of ..., no deeper. */
  depth: number;
}

const wrappersMax = 3;

/**
 * Opens whatever the file is, by its magic numbers: tar, container image archive, ext4, squashfs,
 * erofs, a disk image with one Linux root, each also packed by gzip or zstd (which needs a spool file).
 * As a layer a tar may hold deletions by name, as layers of container images do.
 * @throws PersonaError 'bad-image', 'bad-archive', 'digest-mismatch', 'limit-exceeded' or
 *   'not-supported'.
 */
export async function openImage(fd: number, options: OpenOptions): Promise<Tree> {
  const offset = options.offset ?? 0;
  const size = options.size ?? fileSource(fd, offset).size;
  return openPart({ fd, offset, size, depth: 0 }, options);
}

async function openPart(part: Part, options: OpenOptions): Promise<Tree> {
  const source = fileSource(part.fd, part.offset, part.size);
  const format = detectFormat(source);
  if (part.depth > wrappersMax) throw badImage('it is packed into itself too many times');
  switch (format) {
    case 'gzip':
    case 'zstd':
      return openPart(await unpackedPart(part, source, format, options), options);
    case 'gpt':
    case 'mbr': {
      const { offset, size } = chosenPartition(source, options.partition);
      const inside = { ...part, offset: part.offset + offset, size, depth: part.depth + 1 };
      const { partition: _, ...rest } = options;
      return openPart(inside, rest);
    }
    default:
      if (options.partition !== undefined) throw badImage('it has no partitions to choose from');
      return openTree(source, format, options);
  }
}

async function openTree(
  source: ByteSource,
  format: ImageFormat | undefined,
  options: OpenOptions,
): Promise<Tree> {
  switch (format) {
    case 'tar':
      return openArchive(source, options);
    case 'ext4':
      return ext4Tree(source, options.limits);
    case 'squashfs':
      return squashfsTree(source, options.limits);
    case 'erofs':
      return openOwn(await readErofs(source, options), options);
    default:
      throw unreadable(format);
  }
}

/** The partition of this number, or the one that holds the root. */
function chosenPartition(disk: ByteSource, number: number | undefined): Partition {
  if (number === undefined) return rootPartition(disk);
  const found = readPartitions(disk).find((one) => one.number === number);
  if (found === undefined) throw badImage(`it has no partition ${number}`);
  return found;
}

/** A folder that was an unpacked container image arrives as an erofs image of it. */
async function openOwn(tree: Tree, options: OpenOptions): Promise<Tree> {
  const layout =
    options.kind !== 'layer' && options.spoolFd !== undefined && isContainerImage(tree);
  return layout ? ociTree(tree, options) : tree;
}

async function openArchive(source: ByteSource, options: OpenOptions): Promise<Tree> {
  if (options.kind === 'layer') return layerTarTree(source, options.limits);
  const tree = tarTree(source, options.limits);
  refusePersonaFile(tree);
  return isContainerImage(tree) ? ociTree(tree, options) : tree;
}

/** A persona file is a tar too, but what it holds is no root tree. */
function refusePersonaFile({ entries }: Tree): void {
  const has = (path: string): boolean => entries.some((entry) => entry.path === path);
  if (!has(ospMembers.metadata) || !has(ospMembers.diff)) return;
  const error = badImage('it is a persona file, not a system');
  error.hint = 'Import it with `personactl persona import FILE`.';
  throw error;
}

async function unpackedPart(
  part: Part,
  source: ByteSource,
  format: 'gzip' | 'zstd',
  options: OpenOptions,
): Promise<Part> {
  const { fd, end } = spoolOf(options);
  // Twice the content: an archive has headers, a file system has tables.
  const limits = { ...defaultDecompressLimits, bytes: 2 * options.limits.dataBytes };
  const size = await spool(decompressed(sourceBytes(source), format, limits), fd, end);
  return { fd, offset: end, size, depth: part.depth + 1 };
}

/** What can be done about a format that is known but not read. */
const remedies: Partial<Record<ImageFormat, string>> = {
  xz: 'Unpack it first: `xz -dk FILE`, or pack it with zstd.',
  bzip2: 'Unpack it first: `bunzip2 -k FILE`, or pack it with zstd.',
  lz4: 'Unpack it first: `lz4 -d FILE`, or pack it with zstd.',
  zip: 'Make a tar of its content.',
  qcow2: 'Turn it into a raw image: `qemu-img convert -O raw FILE disk.img`.',
  xfs: 'Mount it and import the folder, or make a tar of it.',
  btrfs: 'Mount it and import the folder, or make a tar of it.',
};

function unreadable(format: ImageFormat | undefined): PersonaError {
  if (format === undefined) {
    return badImage('it is none of tar, container image, ext4, squashfs, erofs or a disk image');
  }
  const error = new PersonaError('not-supported', { what: `reading ${format}` });
  error.hint = remedies[format] ?? error.hint;
  return error;
}
