import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import {
  archiveNames,
  type BackupFacts,
  badBackup,
  factsBytesMax,
  type Member,
  manifestBytesMax,
  membersMax,
  parseFacts,
  parseManifest,
  statePath,
} from './archive.ts';
import { membersOf } from './archive-members.ts';
import { answered, type FilePatience } from './patience.ts';

/** Bytes of one read. */
const readBytes = 1 << 20;

/** A member with its place in the file. */
interface Placed extends Member {
  offset: number;
}

/** An open backup whose list of members is whole. Contents are checked as they are read. */
export interface Archive {
  facts: BackupFacts;
  members: Member[];
  /** Bytes of all members. */
  bytes: number;
  /**
   * The bytes of a member. Throws bad-archive at their end when they are not what the manifest says: nothing that was
   * made of them may be used then.
   */
  read(member: Member): AsyncGenerator<Buffer>;
}

/**
 * Opens a backup: reads its first and last member and the place of every other. Throws bad-archive when it is cut off, has
 * something else than its manifest says, or is no backup; format-too-new; timed-out, as `read` does, when its disk does not answer.
 */
export async function openArchive(handle: FileHandle, patience: FilePatience): Promise<Archive> {
  const file = { handle, patience };
  const placed = await placesOf(file);
  const first = placed[0];
  if (first?.name !== archiveNames.facts) throw badBackup('it is no backup of personad');
  const facts = parseFacts(await text(file, first, factsBytesMax));
  const last = placed.at(-1);
  if (last?.name !== archiveNames.manifest) throw badBackup('it is not complete');
  const manifest = parseManifest(await text(file, last, manifestBytesMax(placed)));
  placed.pop();
  for (const one of placed) {
    const listed = manifest.get(one.name);
    if (listed?.bytes !== one.bytes) throw badBackup(`${one.name} is not as the manifest lists it`);
    one.sha256 = listed.sha256;
  }
  if (manifest.size !== placed.length) throw badBackup('it misses members of its manifest');
  await text(file, first, factsBytesMax, first.sha256);
  return {
    facts,
    members: placed,
    bytes: placed.reduce((sum, { bytes }) => sum + bytes, 0),
    read: (member) => contentOf(file, member as Placed),
  };
}

/** The open file. */
interface OpenFile {
  handle: FileHandle;
  patience: FilePatience;
}

async function placesOf({ handle, patience }: OpenFile): Promise<Placed[]> {
  const placed: Placed[] = [];
  const names = new Set<string>();
  let pieces = 0;
  for await (const member of membersOf(handle, patience)) {
    const { type, size, sparse, dataOffset } = member;
    const name = Buffer.from(member.name, 'latin1').toString('utf8');
    if (type !== 'file' || sparse || names.has(name))
      throw badBackup(`it has a member ${JSON.stringify(name)} of another kind, or twice`);
    if (placed.length > membersMax) throw badBackup('it has too many members');
    if (name.startsWith(archiveNames.state)) statePath(name);
    else if (name.startsWith(archiveNames.slots)) {
      if (name !== `${archiveNames.slots}${String(pieces).padStart(6, '0')}`)
        throw badBackup('the pieces of its slots are out of order');
      pieces += 1;
    } else if (!isOther(name)) throw badBackup(`it has a member ${JSON.stringify(name)}`);
    names.add(name);
    placed.push({ name, bytes: size, sha256: '', offset: dataOffset });
  }
  if (pieces === 0) throw badBackup('it has no slots');
  return placed;
}

function isOther(name: string): boolean {
  return (
    name === archiveNames.facts ||
    name === archiveNames.manifest ||
    name.startsWith(archiveNames.settings)
  );
}

async function* contentOf({ handle, patience }: OpenFile, member: Placed): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for (let done = 0; done < member.bytes; ) {
    const piece = Buffer.allocUnsafe(Math.min(readBytes, member.bytes - done));
    const reading = handle.read(piece, 0, piece.length, member.offset + done);
    const { bytesRead } = await answered(reading, patience);
    if (bytesRead === 0) throw badBackup('it is cut off');
    done += bytesRead;
    hash.update(piece.subarray(0, bytesRead));
    yield piece.subarray(0, bytesRead);
  }
  const found = hash.digest('hex');
  if (member.sha256 !== '' && found !== member.sha256)
    throw badBackup(`${member.name} is damaged: its digest is ${found}, not ${member.sha256}`);
}

async function text(
  file: OpenFile,
  member: Placed,
  bytesMax: number,
  sha256 = '',
): Promise<string> {
  if (member.bytes > bytesMax) throw badBackup(`${member.name} is too long`);
  const parts: Buffer[] = [];
  for await (const piece of contentOf(file, { ...member, sha256 })) parts.push(piece);
  return Buffer.concat(parts).toString('utf8');
}
