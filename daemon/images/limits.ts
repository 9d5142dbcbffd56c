/**
 * Every number a foreign image, archive or entry stream could otherwise grow without end. All of
 * them count what comes OUT of a reader, so that a small archive cannot blow up later.
 */
export interface Limits {
  /** Entries of one tree, the root included. */
  entries: number;
  /** Components of one path. */
  depth: number;
  /** Bytes of one path. */
  pathBytes: number;
  /** Bytes of one encoded entry header in the entry stream. */
  headerBytes: number;
  /** Bytes of all names and values of the extended attributes of one entry. */
  xattrBytes: number;
  /** Data extents of one sparse file. */
  extents: number;
  /** Logical size of one file (holes count). */
  fileBytes: number;
  /** Data bytes of all files together (holes do not count). */
  dataBytes: number;
  /** Bytes of all paths, targets and attributes together, and 16 for each extent. */
  metadataBytes: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

/**
 * The limits used when the caller has no narrower ones. Reasons: 2 Mi entries is four times a large
 * workstation; 4095 bytes is PATH_MAX less its NUL; 128 KiB of attributes is twice the kernel's
 * largest value and fits the 16-bit count of an erofs inode; 16 TiB is the largest ext4 file and
 * the largest erofs image of 4 KiB blocks.
 */
export const defaultLimits: Readonly<Limits> = Object.freeze({
  entries: 2 * 1024 * 1024,
  depth: 512,
  pathBytes: 4095,
  headerBytes: 4 * MiB,
  xattrBytes: 128 * KiB,
  extents: 64 * 1024,
  fileBytes: 16 * TiB,
  dataBytes: 1 * TiB,
  metadataBytes: 512 * MiB,
});

/** Bounds of what slots hold, of which nothing is kept in memory: these are far above any disk. */
export const slotsLimits: Readonly<Limits> = Object.freeze({
  ...defaultLimits,
  entries: 2 ** 32,
  dataBytes: 2 ** 50,
  metadataBytes: 2 ** 40,
});

/** Bytes of one path component, as on every Linux file system. */
export const nameBytesMax = 255;
/** Bytes of one attribute name: the kernel's XATTR_NAME_MAX. */
export const xattrNameBytesMax = 255;
/** Bytes of one attribute value: an erofs entry stores its size in 16 bits (the kernel: 65536). */
export const xattrValueBytesMax = 65535;
/** Bytes of a symbolic link's target: PATH_MAX less its NUL. */
export const targetBytesMax = 4095;
