import { createHash } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import {
  type ListedApplication,
  parseApplicationList,
  refuseApplications,
} from './application-list.ts';
import { type ByteSource, fileSource, sliceSource, sourceBytes } from './byte-source.ts';
import { detectFormat } from './format-detect.ts';
import { defaultLimits } from './limits.ts';
import { ospAlignment, ospBytesMax, ospContentNames, ospMembers } from './osp-members.ts';
import {
  type OspMetadata,
  ospIdentity,
  ospMetadataBytes,
  parseOspMetadata,
} from './osp-metadata.ts';
import { type OspSignature, parseOspSignature } from './osp-signature.ts';
import { parseRuntimeConfig, type RuntimeConfig } from './runtime-config.ts';
import { scanTar } from './tar-scan.ts';

/** Where a member lies in the file. */
export interface OspPlace {
  offset: number;
  size: number;
}

/** A persona file, read and checked. Its large members stay in the file. */
export interface Osp {
  metadata: OspMetadata;
  /** Digest of the canonical metadata: the persona's identity. */
  identity: string;
  members: Record<string, OspPlace>;
  signature?: OspSignature;
  runtime: RuntimeConfig;
  applications: ListedApplication[];
  /** The diff image can be mounted where it lies, and metadata.json is canonical: made as ours are. */
  inPlace: boolean;
}

/** How a persona file is read. */
export interface ReadOspOptions {
  /** Compares the digest of every member with metadata.json (default true). */
  verify?: boolean;
}

/** Members a persona file may hold at most; there are six names. */
const membersMax = 16;

/**
 * Reads a persona file, ours or a foreign one (any order of members, not aligned). Signatures are
 * read but not judged: that needs keys.
 * @throws PersonaError 'bad-persona', 'format-too-new', 'digest-mismatch', 'bad-signature',
 *   'bad-archive', or 'not-supported' for what this version does not realise.
 */
export async function readOsp(fd: number, options: ReadOspOptions = {}): Promise<Osp> {
  return readOspFrom(fileSource(fd), options);
}

/** The same over any source of bytes. */
export async function readOspFrom(source: ByteSource, options: ReadOspOptions = {}): Promise<Osp> {
  checkFormat(source);
  const members = findMembers(source);
  const load = (name: keyof typeof ospBytesMax): Buffer => loadMember(source, members, name);
  const metadataBytes = load(ospMembers.metadata);
  const metadata = parseOspMetadata(metadataBytes);
  checkSizes(metadata, members);
  if (options.verify !== false) await verifyMembers(source, metadata, members);
  refuseResources(metadata);
  const applications = parseApplicationList(load(ospMembers.applications));
  refuseApplications(applications);
  const runtime = parseRuntimeConfig(load(ospMembers.runtime));
  const signed = members.has(ospMembers.signature);
  const canonical = ospMetadataBytes(metadata).equals(metadataBytes);
  const diffOffset = placeOf(members, ospMembers.diff).offset;
  return {
    metadata,
    identity: ospIdentity(metadata),
    members: Object.fromEntries(members),
    runtime,
    applications,
    inPlace: canonical && diffOffset % ospAlignment === 0,
    ...(signed && { signature: parseOspSignature(load(ospMembers.signature)) }),
  };
}

function checkFormat(source: ByteSource): void {
  const format = detectFormat(source);
  if (format === 'tar') return;
  const error = bad(
    format === undefined ? 'it is no tar archive' : `it is ${format}, not a plain tar`,
  );
  if (format === 'gzip' || format === 'zstd' || format === 'xz') error.hint = 'Unpack it first.';
  throw error;
}

/** The place of every member by its name. A './' in front and an entry for the folder are accepted. */
function findMembers(source: ByteSource): Map<string, OspPlace> {
  const known = new Set<string>(Object.values(ospMembers));
  const members = new Map<string, OspPlace>();
  let count = 0;
  for (const member of scanTar(source, defaultLimits)) {
    if (++count > membersMax) throw bad(`it has over ${membersMax} members`);
    if (member.type === 'dir' && /^(?:\.\/?)+$/.test(member.name)) continue;
    const name = member.name.replace(/^\.\//, '');
    if (!known.has(name))
      throw bad(`it has the unknown member ${JSON.stringify(name.slice(0, 200))}`);
    if (members.has(name)) throw bad(`it has the member ${name} twice`);
    if (member.type !== 'file' || member.extents !== undefined) {
      throw bad(`its member ${name} is not a plain file`);
    }
    members.set(name, { offset: member.dataOffset, size: member.size });
  }
  for (const name of [ospMembers.metadata, ...ospContentNames]) placeOf(members, name);
  return members;
}

function placeOf(members: ReadonlyMap<string, OspPlace>, name: string): OspPlace {
  const place = members.get(name);
  if (place === undefined) throw bad(`it lacks the member ${name}`);
  return place;
}

function loadMember(
  source: ByteSource,
  members: ReadonlyMap<string, OspPlace>,
  name: keyof typeof ospBytesMax,
): Buffer {
  const { offset, size } = placeOf(members, name);
  if (size > ospBytesMax[name]) throw bad(`its member ${name} is over ${ospBytesMax[name]} bytes`);
  return source.read(offset, size);
}

function checkSizes(metadata: OspMetadata, members: ReadonlyMap<string, OspPlace>): void {
  for (const name of ospContentNames) {
    const { size } = placeOf(members, name);
    const expected = metadata.members[name].size;
    if (size !== expected) throw bad(`its member ${name} has ${size} bytes, not ${expected}`);
  }
}

async function verifyMembers(
  source: ByteSource,
  metadata: OspMetadata,
  members: ReadonlyMap<string, OspPlace>,
): Promise<void> {
  for (const name of ospContentNames) {
    const { offset, size } = placeOf(members, name);
    const hash = createHash('sha256');
    for await (const piece of sourceBytes(sliceSource(source, offset, size))) hash.update(piece);
    const found = hash.digest('hex');
    const expected = metadata.members[name].sha256;
    if (found !== expected) {
      throw new PersonaError('digest-mismatch', { what: `the member ${name}`, expected, found });
    }
  }
}

function refuseResources({ required_resources: required }: OspMetadata): void {
  const [name] = Object.keys(required);
  if (name === undefined) return;
  const what = `required_resources (${name}) in ${ospMembers.metadata}`;
  throw new PersonaError('not-supported', { what });
}

function bad(reason: string): PersonaError {
  return new PersonaError('bad-persona', reason);
}
