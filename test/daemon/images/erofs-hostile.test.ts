import { openSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import type { Entry } from '../../../daemon/images/entry.ts';
import { crc32c } from '../../../daemon/images/erofs-format.ts';
import { readErofs } from '../../../daemon/images/erofs-reader.ts';
import { defaultLimits } from '../../../daemon/images/limits.ts';
import { treeOf } from '../../../daemon/images/tree.ts';
import { imageBytes } from '../../support/image-bytes.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';

const numbers = { mode: 0o755, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [] };
const entries: Entry[] = [
  { path: '', type: 'dir', ...numbers },
  { path: 'aa', type: 'dir', ...numbers },
  { path: 'aa/xx', type: 'dir', ...numbers },
  { path: 'bb', type: 'file', ...numbers, size: 300_000, extents: [[131_072, 5]] },
  { path: 'cc', type: 'file', ...numbers, size: 10_000 },
  { path: 'dd', type: 'file', ...numbers, size: 5, xattrs: [['user.name', 'value']] },
  { path: 'ee', type: 'symlink', ...numbers, mode: 0o777, target: 'aa' },
];

/** An image with the positions a test wants to spoil. */
class Victim {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  private get meta(): number {
    return this.bytes.readUInt32LE(1024 + 40) * 4096;
  }

  inode(nid: number): number {
    return this.meta + nid * 32;
  }

  /** The position of the directory entry `name` of the folder `nid`, whose block is inline. */
  dirent(nid: number, name: string): number {
    const at = this.inode(nid) + 64;
    for (let i = at; i < at + this.bytes.readUInt16LE(at + 8); i += 12) {
      const start = at + this.bytes.readUInt16LE(i + 8);
      if (this.bytes.toString('latin1', start, start + name.length) === name) return i;
    }
    throw new Error(`no ${name}`);
  }

  /** The position of the text of a name. */
  nameText(nid: number, name: string): number {
    return this.inode(nid) + 64 + this.bytes.readUInt16LE(this.dirent(nid, name) + 8);
  }

  nid(path: string): number {
    let nid = this.bytes.readUInt16LE(1024 + 14);
    for (const name of path.split('/').filter((part) => part !== '')) {
      nid = Number(this.bytes.readBigUInt64LE(this.dirent(nid, name)));
    }
    return nid;
  }

  /** Makes the checksum right again, so that the spoilt field itself is judged. */
  seal(): void {
    this.bytes.writeUInt32LE(0, 1028);
    this.bytes.writeUInt32LE(crc32c(this.bytes.subarray(1024, 4096)), 1028);
  }
}

type Spoil = (victim: Victim) => void;
const cases: Record<string, [code: string, spoil: Spoil]> = {
  'a wrong magic': ['bad-image', (v) => v.bytes.writeUInt32LE(1, 1024)],
  'blocks of 2^40 bytes': ['bad-image', (v) => v.bytes.writeUInt8(40, 1024 + 12)],
  'more blocks than there are': ['bad-image', (v) => v.bytes.writeUInt32LE(1 << 30, 1024 + 36)],
  'no blocks': ['bad-image', (v) => v.bytes.writeUInt32LE(0, 1024 + 36)],
  'metadata beyond the end': ['bad-image', (v) => v.bytes.writeUInt32LE(1 << 30, 1024 + 40)],
  'a root beyond the end': ['bad-image', (v) => v.bytes.writeUInt16LE(0xffff, 1024 + 14)],
  'unknown features': ['not-supported', (v) => v.bytes.writeUInt32LE(0x4000, 1024 + 80)],
  'several devices': ['not-supported', (v) => v.bytes.writeUInt16LE(2, 1024 + 86)],
  'a root that is a file': ['bad-image', (v) => v.bytes.writeUInt16LE(v.nid('dd'), 1024 + 14)],
  'a folder inside itself': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(BigInt(v.nid('aa')), v.dirent(v.nid('aa'), 'xx')),
  ],
  'the root inside itself': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(BigInt(v.nid('')), v.dirent(v.nid('aa'), 'xx')),
  ],
  'a folder with two names': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(BigInt(v.nid('aa/xx')), v.dirent(v.nid(''), 'bb')),
  ],
  '.. that leads elsewhere': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(BigInt(v.nid('aa')), v.dirent(v.nid('aa/xx'), '..')),
  ],
  'a name twice': ['bad-image', (v) => v.bytes.write('aa', v.nameText(v.nid(''), 'bb'))],
  'names out of order': ['bad-image', (v) => v.bytes.write('zz', v.nameText(v.nid(''), 'bb'))],
  'a name with a slash': ['bad-image', (v) => v.bytes.write('b/', v.nameText(v.nid(''), 'bb'))],
  'a name with a zero byte': [
    'bad-image',
    (v) => v.bytes.write('b\0', v.nameText(v.nid(''), 'bb')),
  ],
  'a second ..': ['bad-image', (v) => v.bytes.write('..', v.nameText(v.nid(''), 'aa'))],
  'an entry of another type': [
    'bad-image',
    (v) => v.bytes.writeUInt8(7, v.dirent(v.nid(''), 'bb') + 10),
  ],
  'an entry beyond the end': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(2n ** 40n, v.dirent(v.nid(''), 'bb')),
  ],
  'an entry beyond numbers': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(2n ** 64n - 1n, v.dirent(v.nid(''), 'bb')),
  ],
  'a start of names that is no entry': [
    'bad-image',
    (v) => v.bytes.writeUInt16LE(13, v.inode(v.nid('')) + 64 + 8),
  ],
  'names before the entries': [
    'bad-image',
    (v) => v.bytes.writeUInt16LE(1, v.inode(v.nid('')) + 64 + 20),
  ],
  'a folder of 2^60 bytes': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(2n ** 60n, v.inode(v.nid('aa')) + 8),
  ],
  'a file of 2^60 bytes': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(2n ** 60n, v.inode(v.nid('cc')) + 8),
  ],
  'data beyond the end': [
    'bad-image',
    (v) => v.bytes.writeUInt32LE(1 << 30, v.inode(v.nid('cc')) + 16),
  ],
  'a tail over two blocks': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(4090n, v.inode(v.nid('dd')) + 8),
  ],
  'a chunk beyond the end': [
    'bad-image',
    (v) => v.bytes.writeUInt32LE(1 << 30, v.inode(v.nid('bb')) + 64 + 8),
  ],
  'a chunk map beyond the end': [
    'bad-image',
    (v) => v.bytes.writeBigUInt64LE(2n ** 43n, v.inode(v.nid('bb')) + 8),
  ],
  'an unknown chunk format': [
    'bad-image',
    (v) => v.bytes.writeUInt16LE(0x8000, v.inode(v.nid('bb')) + 16),
  ],
  'an unknown layout': ['bad-image', (v) => v.bytes.writeUInt16LE(0xf, v.inode(v.nid('cc')))],
  'a compressed file': ['not-supported', (v) => v.bytes.writeUInt16LE(0x3, v.inode(v.nid('cc')))],
  'a newer inode': ['not-supported', (v) => v.bytes.writeUInt16LE(0x11, v.inode(v.nid('cc')))],
  'an inode without type': [
    'bad-image',
    (v) => v.bytes.writeUInt16LE(0o644, v.inode(v.nid('cc')) + 4),
  ],
  'too many nanoseconds': [
    'bad-image',
    (v) => v.bytes.writeUInt32LE(2e9, v.inode(v.nid('cc')) + 40),
  ],
  'attributes beyond the end': [
    'bad-image',
    (v) => v.bytes.writeUInt16LE(0xffff, v.inode(v.nid('dd')) + 2),
  ],
  'an attribute longer than its area': [
    'bad-image',
    (v) => v.bytes.writeUInt16LE(60_000, v.inode(v.nid('dd')) + 64 + 12 + 2),
  ],
  'more shared attributes than room': [
    'bad-image',
    (v) => v.bytes.writeUInt8(255, v.inode(v.nid('dd')) + 64 + 4),
  ],
  'an attribute of an unknown name space': [
    'not-supported',
    (v) => v.bytes.writeUInt8(99, v.inode(v.nid('dd')) + 64 + 12 + 1),
  ],
  'a link of no length': ['bad-image', (v) => v.bytes.writeUInt32LE(0, v.inode(v.nid('ee')) + 8)],
  'a link with a zero byte': ['bad-image', (v) => v.bytes.writeUInt8(0, v.inode(v.nid('ee')) + 64)],
};

for (const [title, [code, spoil]] of Object.entries(cases)) {
  test(`refused: ${title}`, async (t) => {
    const scratch = openSync(join(scratchFolder(t), 'image'), 'w+');
    const tree = treeOf(entries, async function* (entry) {
      yield Buffer.alloc(entry.extents === undefined ? (entry.size ?? 0) : 5, 7);
    });
    const victim = new Victim(await imageBytes(tree, scratch));
    t.is(readErofs(bufferSource(victim.bytes), { limits: defaultLimits }).entries.length, 7);
    spoil(victim);
    victim.seal();
    const error = t.throws(() => readErofs(bufferSource(victim.bytes), { limits: defaultLimits }));
    t.like(error, { code });
  });
}

test('a wrong checksum is refused', async (t) => {
  const scratch = openSync(join(scratchFolder(t), 'image'), 'w+');
  const bytes = await imageBytes(
    treeOf(entries.slice(0, 1), async function* () {}),
    scratch,
  );
  bytes.writeUInt8(bytes.readUInt8(4000) ^ 1, 4000);
  const error = t.throws(() => readErofs(bufferSource(bytes), { limits: defaultLimits }));
  t.like(error, { code: 'bad-image' });
});
