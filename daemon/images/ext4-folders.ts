import { inlineDataName, rawAttributes } from './ext4-attributes.ts';
import { blockRuns } from './ext4-blocks.ts';
import { type Ext4Inode, inlineContent, inodeFlags } from './ext4-inode.ts';
import { type Ext4Volume, readBlock } from './ext4-volume.ts';
import { badImage } from './faults.ts';
import type { Limits } from './limits.ts';

/** One name in a folder. */
export interface FolderName {
  name: string;
  number: number;
}

/**
 * The names in a folder, without '.' and '..'. Indexed folders are read block by block like the
 * others: the index lies in records that older readers take for empty ones.
 * @throws PersonaError 'bad-image'.
 */
export function* folderNames(
  volume: Ext4Volume,
  folder: Ext4Inode,
  limits: Limits,
): Generator<FolderName> {
  if ((folder.flags & inodeFlags.inlineData) !== 0) {
    const none = () => {
      throw badImage(`the ext4 folder ${folder.number} has damaged attributes`);
    };
    const tail = rawAttributes(volume, folder, none).get(inlineDataName);
    const bytes = inlineContent(folder, tail);
    // The first word is the parent; two lists follow, one in the inode and one in the attribute.
    yield* records(folder, bytes.subarray(4, 60));
    if (bytes.length > 60) yield* records(folder, bytes.subarray(60));
    return;
  }
  for (const { block, count } of blockRuns(volume, folder, limits.extents)) {
    for (let i = 0; i < count; i++) yield* records(folder, readBlock(volume, block + i));
  }
}

function* records(folder: Ext4Inode, bytes: Buffer): Generator<FolderName> {
  for (let at = 0; at + 8 <= bytes.length; ) {
    const number = bytes.readUInt32LE(at);
    const length = bytes.readUInt16LE(at + 4);
    const nameLength = bytes[at + 6] ?? 0;
    // In blocks of 64 KiB a record may fill all of it, which 16 bits cannot say.
    const step = bytes.length === 65536 && (length === 0 || length === 65535) ? 65536 : length;
    if (step < 8 || step % 4 !== 0 || at + step > bytes.length || 8 + nameLength > step) {
      throw badImage(`the ext4 folder ${folder.number} is damaged`);
    }
    const name = bytes.toString('latin1', at + 8, at + 8 + nameLength);
    if (number !== 0 && /^$|[/\0]/.test(name)) throw badName(folder);
    if (number !== 0 && name !== '.' && name !== '..') yield { name, number };
    at += step;
  }
}

function badName(folder: Ext4Inode): Error {
  return badImage(`the ext4 folder ${folder.number} holds a name that cannot be one`);
}
