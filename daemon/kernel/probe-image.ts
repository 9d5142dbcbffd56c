/** Numbers of the erofs on-disk format that the smallest image needs (fs/erofs/erofs_fs.h). */
const BLOCK = 4096;
const SUPER = 1024;
const MAGIC = 0xe0f5e1e2;
const ROOT_NID = 36; // in slots of 32 bytes: right behind the superblock of 128 bytes
const LAYOUT_INLINE = 2;
const DIRECTORY = 2;

/** The bytes of an erofs image with an empty root folder: enough to ask a kernel what it can mount. */
export function emptyErofs(): Buffer {
  const image = Buffer.alloc(BLOCK);
  image.writeUInt32LE(MAGIC, SUPER);
  image.writeUInt8(12, SUPER + 12); // block size as a power of two
  image.writeUInt16LE(ROOT_NID, SUPER + 14);
  image.writeBigUInt64LE(1n, SUPER + 16); // inodes
  image.writeUInt32LE(1, SUPER + 36); // blocks
  const inode = ROOT_NID * 32;
  image.writeUInt16LE(LAYOUT_INLINE << 1, inode);
  image.writeUInt16LE(0o040755, inode + 4);
  image.writeUInt16LE(2, inode + 6); // links
  const entries = Buffer.alloc(27); // two entries of 12 bytes, then their names
  for (const [i, name] of ['.', '..'].entries()) {
    entries.writeBigUInt64LE(BigInt(ROOT_NID), i * 12);
    entries.writeUInt16LE(24 + i, i * 12 + 8);
    entries.writeUInt8(DIRECTORY, i * 12 + 10);
    entries.write(name, 24 + i, 'ascii');
  }
  image.writeUInt32LE(entries.length, inode + 8);
  entries.copy(image, inode + 32);
  return image;
}
