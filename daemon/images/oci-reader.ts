import { createHash, type Hash } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { archivePath } from './archive-path.ts';
import { type ByteSource, bufferSource, fileSource } from './byte-source.ts';
import { decompressed, defaultDecompressLimits } from './decompress.ts';
import { compressions, detectFormat } from './format-detect.ts';
import type { Limits } from './limits.ts';
import { NodeTree, type PlaceOptions } from './node-tree.ts';
import { type ImageChoice, imageLayers, type OciLayer } from './oci-image.ts';
import { ImageFiles } from './oci-json.ts';
import type { OpenOptions } from './readers.ts';
import { spool, spoolOf } from './spool.ts';
import { badArchive } from './tar-headers.ts';
import { addTar, tarTree } from './tar-reader.ts';
import { scanTar } from './tar-scan.ts';
import type { Tree } from './tree.ts';
import { whiteoutName } from './whiteout-names.ts';

/**
 * Opens a container image archive (OCI or docker, an uncompressed tar) as the tree of its layers
 * applied in order. Needs a spool file for the unpacked layers.
 * @throws PersonaError 'bad-archive', 'digest-mismatch', 'limit-exceeded' or 'not-supported'.
 */
export async function openOci(fd: number, options: OpenOptions): Promise<Tree> {
  return ociTree(
    tarTree(fileSource(fd, options.offset ?? 0, options.size), options.limits),
    options,
  );
}

/** The same for a layout that is a tree already: an unpacked folder, an archive. Errors as there. */
export async function ociTree(
  layout: Tree,
  options: OpenOptions,
  choice: ImageChoice = { arch: process.arch },
): Promise<Tree> {
  const { fd: spoolFd, end } = spoolOf(options);
  const files = new ImageFiles(layout);
  const layers = await imageLayers(files, choice);
  const tree = new NodeTree(options.limits);
  let at = end;
  for (const [index, layer] of layers.entries()) {
    const left = options.limits.dataBytes - (at - end);
    const bytes = await unpackLayer(files, layer, spoolFd, at, left);
    applyLayer(tree, fileSource(spoolFd, at, bytes), options.limits, index + 1);
    at += bytes;
  }
  return tree.toTree();
}

/** True when a tree looks like an image layout or a docker archive, not like a root tree. */
export function isContainerImage(tree: Tree): boolean {
  const files = new ImageFiles(tree);
  return files.has('oci-layout') || (files.has('manifest.json') && !files.has('etc'));
}

/** Writes the uncompressed tar of a layer to the spool, checking both digests. */
async function unpackLayer(
  files: ImageFiles,
  layer: OciLayer,
  spoolFd: number,
  at: number,
  left: number,
): Promise<number> {
  const { size, bytes } = files.open(layer.path);
  if (layer.size !== undefined && layer.size !== size) {
    throw mismatch('the size of a layer', String(layer.size), String(size));
  }
  const algorithm = layer.digest?.split(':')[0] ?? 'sha256';
  const stored = createHash(algorithm);
  const content = createHash('sha256');
  const plain = unpacked(hashed(bytes, stored), left);
  const written = await spool(hashed(plain, content), spoolFd, at);
  if (layer.digest !== undefined) {
    checkDigest('a layer', layer.digest, `${algorithm}:${stored.digest('hex')}`);
  }
  checkDigest('the content of a layer', layer.diffId, `sha256:${content.digest('hex')}`);
  return written;
}

async function* hashed(pieces: AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}

/** The tar inside a layer blob. What it is packed with is told by its bytes: media types lie. */
async function* unpacked(pieces: AsyncIterable<Buffer>, left: number): AsyncGenerator<Buffer> {
  const iterator = pieces[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true) throw badArchive('a layer is empty');
  const all = (async function* () {
    yield first.value;
    for (;;) {
      const { done, value } = await iterator.next();
      if (done === true) return;
      yield value;
    }
  })();
  const format = detectFormat(bufferSource(first.value.subarray(0, 1024)));
  const limits = { ...defaultDecompressLimits, bytes: left };
  if (format === 'gzip' || format === 'zstd') yield* decompressed(all, format, limits);
  else if (format === undefined || format === 'tar') yield* all;
  else if (!compressions.has(format)) throw badArchive(`a layer is packed with ${format}`);
}

function checkDigest(what: string, expected: string, found: string): void {
  if (expected !== found) throw mismatch(what, expected, found);
}

function mismatch(what: string, expected: string, found: string): Error {
  return new PersonaError('digest-mismatch', { what, expected, found });
}

/**
 * Lays one layer over the tree. Whiteouts go first: they only ever hide what lower layers put,
 * wherever they stand in the layer.
 */
function applyLayer(tree: NodeTree, source: ByteSource, limits: Limits, layer: number): void {
  const options: PlaceOptions = { layer, links: 'follow' };
  for (const member of scanTar(source, limits)) {
    const meaning = whiteoutName(archivePath(member.name, 'a member'));
    if (meaning.kind === 'opaque') tree.empty(meaning.folder, options);
    else if (meaning.kind === 'hidden') tree.remove(meaning.path, options);
  }
  addTar(tree, source, limits, options, (path) => whiteoutName(path).kind !== 'plain');
}
