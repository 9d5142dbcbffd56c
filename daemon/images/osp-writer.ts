import { createHash } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { type ByteSource, bufferSource, sourceBytes } from './byte-source.ts';
import {
  type OspContentName,
  ospAlignment,
  ospContentNames,
  ospFormatVersion,
  ospMembers,
} from './osp-members.ts';
import { checkOspMetadata, type OspMetadata, ospMetadataBytes } from './osp-metadata.ts';
import { type OspSignature, ospSignatureBytes } from './osp-signature.ts';
import { formatTarHeader } from './tar-blocks.ts';
import { tarBlockBytes, tarPadded } from './tar-headers.ts';
import { formatPax } from './tar-pax.ts';

/** What the author says of a persona; the writer adds sizes and digests. */
export type OspFacts = Omit<OspMetadata, 'members' | 'format_version'>;

/** What goes into a persona file. */
export interface OspContent {
  facts: OspFacts;
  members: Record<OspContentName, ByteSource>;
  /** Signs the canonical metadata; without it the file is unsigned. */
  sign?: (metadata: Buffer) => OspSignature;
}

/** A persona file that is ready to be written: the first pass is done. */
export interface PreparedOsp {
  metadata: OspMetadata;
  /** Digest of the canonical metadata. */
  identity: string;
  /** Length of the file. */
  size: number;
  /** Position of diff_image.img in it, a multiple of 4096. */
  diffOffset: number;
  /** The bytes of the file: the second pass. Each call begins anew. */
  bytes(): AsyncIterable<Buffer>;
}

/** One header area and the data after it. */
interface Piece {
  header: Buffer;
  source: ByteSource;
  /** Digest the first pass found; the second pass has to find it again. */
  sha256?: string;
}

/**
 * Reads every member once for its digest and lays out the file. Equal content gives equal bytes.
 * @throws PersonaError 'bad-persona' when the facts are wrong.
 */
export async function prepareOsp(content: OspContent): Promise<PreparedOsp> {
  const members = {} as OspMetadata['members'];
  for (const name of ospContentNames) {
    const source = content.members[name];
    members[name] = { size: source.size, sha256: await digestOf(source) };
  }
  const metadata = checkOspMetadata({
    ...content.facts,
    format_version: ospFormatVersion,
    members,
  });
  const metadataBytes = ospMetadataBytes(metadata);
  const pieces: Piece[] = [];
  let at = 0;
  let diffOffset = 0;
  const add = (name: string, source: ByteSource, sha256?: string): void => {
    const header = memberHeader(name, source.size, at);
    if (name === ospMembers.diff) diffOffset = at + header.length;
    pieces.push({ header, source, ...(sha256 !== undefined && { sha256 }) });
    at += header.length + tarPadded(source.size);
  };
  add(ospMembers.metadata, bufferSource(metadataBytes));
  for (const name of ospContentNames) add(name, content.members[name], members[name].sha256);
  const signature = content.sign?.(metadataBytes);
  if (signature !== undefined)
    add(ospMembers.signature, bufferSource(ospSignatureBytes(signature)));
  const identity = `sha256:${createHash('sha256').update(metadataBytes).digest('hex')}`;
  const size = at + 2 * tarBlockBytes;
  return { metadata, identity, size, diffOffset, bytes: () => fileBytes(pieces) };
}

async function digestOf(source: ByteSource): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of sourceBytes(source)) hash.update(piece);
  return hash.digest('hex');
}

/** The header of a member; before the image a pax comment that moves its data to a page. */
function memberHeader(name: string, size: number, at: number): Buffer {
  const header = formatTarHeader({ name, type: '0', mode: 0o644, size });
  if (name !== ospMembers.diff) return header;
  // Two headers and at least one block of comment stand before the data.
  const before = at + 3 * tarBlockBytes;
  const comment = tarBlockBytes + ((ospAlignment - (before % ospAlignment)) % ospAlignment);
  const fill = comment - formatPax([['comment', '']]).length;
  // Each digit more in the length takes a byte away from the text.
  let body = formatPax([['comment', '-'.repeat(fill)]]);
  if (body.length > comment)
    body = formatPax([['comment', '-'.repeat(fill - (body.length - comment))]]);
  const pax = formatTarHeader({
    name: `PaxHeaders/${name}`,
    type: 'x',
    mode: 0o644,
    size: comment,
  });
  return Buffer.concat([pax, body, header]);
}

async function* fileBytes(pieces: readonly Piece[]): AsyncGenerator<Buffer> {
  for (const { header, source, sha256 } of pieces) {
    yield header;
    const hash = createHash('sha256');
    for await (const bytes of sourceBytes(source)) {
      hash.update(bytes);
      yield bytes;
    }
    const found = hash.digest('hex');
    if (sha256 !== undefined && found !== sha256) {
      const what = 'a member that changed while it was written';
      throw new PersonaError('digest-mismatch', { what, expected: sha256, found });
    }
    const padding = tarPadded(source.size) - source.size;
    if (padding > 0) yield Buffer.alloc(padding);
  }
  yield Buffer.alloc(2 * tarBlockBytes);
}
