import { PersonaError } from '../../ipc/errors.ts';

/** Version of the form of a backup. A reader refuses a newer one. */
export const archiveVersion = 1;
const format = 'personad-backup';

/** Names of members that have a meaning of their own. A backup is a tar of plain files, in this order. */
export const archiveNames = {
  /** First: what the backup is. */
  facts: 'backup.json',
  /** Files of the settings folder: for people, a restore leaves settings alone. */
  settings: 'settings/',
  /** Files of the state tree, under their own names. */
  state: 'state/',
  /** What slots hold, as one entry stream, cut into pieces: 000000, 000001, ... */
  slots: 'slots.stream/',
  /** Last: length and digest of every member before it. */
  manifest: 'manifest.json',
} as const;

/** Bytes of one piece of the stream: its digest is known only when it is complete, so it waits in memory. */
export const pieceBytes = 4 * 1024 * 1024;
/** Members of one backup: layers, personas and pieces. */
export const membersMax = 1_000_000;
/** Bytes of the first member. */
export const factsBytesMax = 1024 * 1024;

/** A slot whose writable layer was in use: its files are each as they were when they were read. */
export interface LiveSlot {
  slot: string;
  generation: number;
}

/** What a backup says of itself. */
export interface BackupFacts {
  /** Milliseconds since 1970. */
  madeMs: number;
  host: string;
  /** The state tree it was made of: generations name their layers by whole paths. */
  state: string;
  /** Version of the program, and of the database schema. */
  version: string;
  schema: number;
  bases: number;
  personas: number;
  slots: string[];
  live: LiveSlot[];
}

/** One member as the manifest lists it. */
export interface Member {
  name: string;
  bytes: number;
  /** SHA-256 of its bytes, in hexadecimal. */
  sha256: string;
}

/** The error of everything that is wrong with a backup. */
export function badBackup(reason: string): PersonaError {
  return new PersonaError('bad-archive', reason);
}

/** The text of the first member. */
export function factsText(facts: BackupFacts): string {
  return `${JSON.stringify({ format, version: archiveVersion, ...{ facts } }, null, 2)}\n`;
}

function parsed(text: string, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw badBackup(`${what} is not well-formed`);
}

/** Reads the first member. Throws bad-archive, or format-too-new for a backup of a newer version. */
export function parseFacts(text: string): BackupFacts {
  const value = parsed(text, archiveNames.facts);
  if (value.format !== format) throw badBackup('it is no backup of personad');
  const found = Number(value.version);
  if (!(found >= 1)) throw badBackup('it has no version');
  if (found > archiveVersion)
    throw new PersonaError('format-too-new', { found, known: archiveVersion, what: 'backup' });
  const facts = value.facts as BackupFacts;
  const numbers = [facts?.madeMs, facts?.schema, facts?.bases, facts?.personas];
  const texts = [facts?.host, facts?.state, facts?.version];
  const fits =
    numbers.every((one) => Number.isSafeInteger(one) && one >= 0) &&
    texts.every((one) => typeof one === 'string' && one.length < 4096) &&
    Array.isArray(facts.slots) &&
    Array.isArray(facts.live);
  if (!fits) throw badBackup(`${archiveNames.facts} misses facts`);
  return facts;
}

/** The text of the last member. */
export function manifestText(members: readonly Member[]): string {
  const lines = members.map((member) => `    ${JSON.stringify(member)}`);
  return `{\n  "members": [\n${lines.join(',\n')}\n  ]\n}\n`;
}

/** Most bytes of a line of the manifest beside a name, and of one byte of a name, which may be escaped. */
const lineBytesMax = 256;
const escapedBytesMax = 6;

/** Most bytes that the manifest of these may have: it is taken into memory, and parsed, at once. */
export function manifestBytesMax(members: readonly Pick<Member, 'name'>[]): number {
  const needed = members.reduce(
    (sum, { name }) => sum + lineBytesMax + escapedBytesMax * Buffer.byteLength(name),
    0,
  );
  return Math.min(needed, 256 * 1024 * 1024);
}

/** Reads the last member. */
export function parseManifest(text: string): Map<string, Member> {
  const { members } = parsed(text, archiveNames.manifest);
  if (!Array.isArray(members)) throw badBackup(`${archiveNames.manifest} lists no members`);
  const found = new Map<string, Member>();
  for (const one of members as Member[]) {
    const fits =
      typeof one?.name === 'string' &&
      Number.isSafeInteger(one.bytes) &&
      /^[0-9a-f]{64}$/.test(String(one.sha256));
    if (!fits || found.has(one.name)) throw badBackup(`${archiveNames.manifest} is wrong`);
    found.set(one.name, one);
  }
  return found;
}

/** Of the files of a state tree only these are in a backup: the database, keys, layers, personas, with the names that we give them. */
export function isStateFile(path: string): boolean {
  const known =
    /^personad\.db$/.test(path) ||
    /^(?:layers|personas)\/sha256-[0-9a-f]{64}\.(?:erofs|osp|original|json)$/.test(path) ||
    /^keys\/(?:trusted\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,120}$/.test(path);
  return known && !path.includes('..');
}

/** The path below the state tree of a member `state/...`. Throws bad-archive for what no backup of ours has. */
export function statePath(name: string): string {
  const path = name.slice(archiveNames.state.length);
  if (!isStateFile(path)) throw badBackup(`it has a member ${JSON.stringify(name)}`);
  return path;
}
