import { PersonaError } from '../../ipc/errors.ts';
import { type ByteSource, fileSource, sourceBytes } from './byte-source.ts';
import { decompressed, defaultDecompressLimits } from './decompress.ts';
import { type Entry, shownPath } from './entry.ts';
import { ospMembers } from './osp-members.ts';
import type { OpenOptions } from './readers.ts';
import { spool, spoolOf } from './spool.ts';
import { tarTree } from './tar-reader.ts';
import type { Tree } from './tree.ts';

/** Documents and settings: far more than enough, far less than a disk. */
const seedBytesMax = 64 * 1024 ** 3;

/** Attributes that data may carry; the others give rights or steer file systems. */
const allowedXattr = /^(?:user\.|system\.posix_acl_(?:access|default)$)/;

/**
 * Opens the data seed: a gzip of a tar. It holds data, so nothing in it may give rights: devices,
 * fifos, suid and sgid programs and attributes outside user.* and access lists are refused. Owners
 * are the numbers in the archive (names are not looked up: they mean something else on every
 * machine); an archive made with --owner=1000 --group=1000 gives the files to the first user.
 * @param seed the bytes of the member.
 * @throws PersonaError 'bad-archive', 'bad-persona' or 'limit-exceeded'.
 */
export async function openDataSeed(seed: ByteSource, options: OpenOptions): Promise<Tree> {
  const { fd, end } = spoolOf(options);
  const bytes = Math.min(seedBytesMax, options.limits.dataBytes);
  const plain = decompressed(sourceBytes(seed), 'gzip', { ...defaultDecompressLimits, bytes });
  const size = await spool(plain, fd, end);
  const tree = tarTree(fileSource(fd, end, size), options.limits);
  for (const entry of tree.entries) {
    const problem = rightsGiven(entry);
    if (problem === undefined) continue;
    throw new PersonaError(
      'bad-persona',
      `${ospMembers.seed}: ${shownPath(entry.path)} ${problem}`,
    );
  }
  return tree;
}

function rightsGiven(entry: Entry): string | undefined {
  const { type, mode, xattrs } = entry;
  if (type === 'char' || type === 'block') return 'is a device, not data';
  if (type === 'fifo' || type === 'socket') return `is a ${type}, not data`;
  if (type === 'file' && (mode & 0o6000) !== 0) return 'is a program with suid or sgid, not data';
  const other = xattrs.find(([name]) => !allowedXattr.test(name));
  return other === undefined ? undefined : `carries the attribute ${JSON.stringify(other[0])}`;
}
