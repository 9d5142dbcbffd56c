import { fstatSync, writeSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import { type ByteSource, fileSource, sliceSource, sourceBytes } from './byte-source.ts';
import { dataBytes, type Entry } from './entry.ts';
import type { OpenOptions } from './readers.ts';
import { badArchive } from './tar-headers.ts';
import type { Item, Tree } from './tree.ts';

/**
 * The file of the caller that takes what has to be unpacked before it can be read: an empty file
 * opened for reading and writing, on a disk, gone when its descriptor is closed.
 * @throws PersonaError 'internal' when the caller gave none.
 */
export function spoolOf(options: OpenOptions): { fd: number; end: number } {
  const fd = options.spoolFd;
  if (fd === undefined) throw new PersonaError('internal', 'this format needs a spool file');
  return { fd, end: fstatSync(fd).size };
}

/** Writes pieces to a file from `offset` on, whole. Returns the number of bytes. */
export async function spool(
  pieces: AsyncIterable<Buffer>,
  fd: number,
  offset: number,
): Promise<number> {
  let at = offset;
  for await (const piece of pieces) {
    for (let done = 0; done < piece.length; ) {
      done += writeSync(fd, piece, done, piece.length - done, at + done);
    }
    at += piece.length;
  }
  return at - offset;
}

/** A tree with random access out of items that come once: their content goes to the spool file. */
export async function spooledTree(items: AsyncIterable<Item>, options: OpenOptions): Promise<Tree> {
  const { fd, end } = spoolOf(options);
  const places = new Map<Entry, number>();
  const entries: Entry[] = [];
  let at = end;
  for await (const { entry, content } of items) {
    entries.push(entry);
    if (entry.type !== 'file') continue;
    places.set(entry, at - end);
    const bytes = await spool(content, fd, at);
    if (bytes !== dataBytes(entry)) throw badArchive('a file changed its length');
    at += bytes;
  }
  const source: ByteSource = fileSource(fd, end, at - end);
  const read = (entry: Entry) => {
    const place = places.get(entry);
    return place === undefined
      ? sourceBytes(source, 0, 0)
      : sourceBytes(sliceSource(source, place, dataBytes(entry)));
  };
  return { entries, read, close: async () => {} };
}
