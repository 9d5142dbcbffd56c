import { ftruncateSync, readSync } from 'node:fs';
import { writeErofs } from '../../daemon/images/erofs-writer.ts';
import { itemsOf, type Tree } from '../../daemon/images/tree.ts';

/** The erofs image of a tree, by way of a scratch file open for reading and writing. */
export async function imageBytes(tree: Tree, scratchFd: number): Promise<Buffer> {
  ftruncateSync(scratchFd, 0);
  const { bytes } = await writeErofs(itemsOf(tree), scratchFd);
  const image = Buffer.alloc(bytes);
  readSync(scratchFd, image, 0, bytes, 0);
  return image;
}
