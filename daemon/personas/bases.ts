import { PersonaError } from '../../ipc/errors.ts';
import type { Json } from '../changes/task.ts';
import type { OsFacts } from '../images/os-release.ts';
import type { Row, Store, Tx } from '../store/store.ts';
import { type BaseUse, usesOfBases } from './base-use.ts';

/** An imported base: a name for one image of a whole OS root tree. */
export interface Base {
  name: string;
  digest: string;
  owner: number;
  importedMs: number;
  bytes: number;
  entries: number;
  /** What it was made from: host, folder, or the kind of file. */
  source: string;
  os: OsFacts;
  /** Set-id files, capabilities and devices in it. */
  privileged: string[];
}

/** A base as people see it. */
export interface BasePage {
  name: string;
  digest: string;
  bytes: number;
  entries?: number;
  source: string;
  os?: OsFacts;
  importedMs: number;
  usedBy: { personas: string[]; slots: string[] };
}

type Detail = Pick<Base, 'entries' | 'source' | 'os' | 'privileged'>;

function baseOf(row: Row): Base {
  const detail = JSON.parse(String(row.detail)) as Partial<Detail>;
  return {
    name: String(row.name),
    digest: String(row.digest),
    owner: Number(row.owner),
    importedMs: Number(row.created),
    bytes: Number(row.bytes),
    entries: detail.entries ?? 0,
    source: detail.source ?? 'unknown',
    os: detail.os ?? {},
    privileged: detail.privileged ?? [],
  };
}

const query = 'SELECT b.*, l.bytes AS bytes FROM bases b JOIN layers l ON l.digest = b.digest';

/** Every base, by name. */
export async function readBases(store: Store): Promise<Base[]> {
  return (await store.all(`${query} ORDER BY b.name`)).map(baseOf);
}

/** A base by name or digest (of several names the one it had first), or undefined. */
export async function findBaseRow(store: Store, reference: string): Promise<Base | undefined> {
  const column = reference.startsWith('sha256:') ? 'digest' : 'name';
  const row = await store.get(
    `${query} WHERE b.${column} = ? ORDER BY b.created, b.name LIMIT 1`,
    reference,
  );
  return row === undefined ? undefined : baseOf(row);
}

/** A base by name or digest. Throws base-not-found. */
export async function readBase(store: Store, reference: string): Promise<Base> {
  const found = await findBaseRow(store, reference);
  if (found === undefined) throw new PersonaError('base-not-found', { base: reference });
  return found;
}

/** Adds a base; its layer's row stands in the same transaction. Fails on a constraint when the name was taken meanwhile. */
export function insertBase(tx: Tx, base: Base, change: number): void {
  const { entries, source, os, privileged } = base;
  const detail: Detail = { entries, source, os, privileged };
  tx.run(
    'INSERT INTO bases (name, digest, owner, created, change, detail) VALUES (?, ?, ?, ?, ?, ?)',
    base.name,
    base.digest,
    base.owner,
    base.importedMs,
    change,
    JSON.stringify(detail),
  );
}

function pageOf(base: Base, use: BaseUse | undefined): BasePage {
  const { name, digest, bytes, entries, source, os, importedMs } = base;
  return {
    name,
    digest,
    bytes,
    ...(entries > 0 ? { entries } : {}),
    source,
    ...(Object.keys(os).length > 0 ? { os } : {}),
    importedMs,
    usedBy: use ?? { personas: [], slots: [] },
  };
}

/** All bases as `viewer` (a uid) may see them. */
export async function listBases({ store }: { store: Store }, viewer: number): Promise<BasePage[]> {
  const [bases, uses] = [await readBases(store), await usesOfBases(store, viewer)];
  return bases.map((base) => pageOf(base, uses.get(base.digest)));
}

/** One base by name or digest, as `viewer` (a uid) may see it. Throws base-not-found. */
export async function showBase(
  { store }: { store: Store },
  reference: string,
  viewer: number,
): Promise<BasePage> {
  const base = await readBase(store, reference);
  return pageOf(base, (await usesOfBases(store, viewer)).get(base.digest));
}

/** What an import hands over in the end. */
export interface ImportedBase {
  name: string;
  /** Its content was here before. */
  existed: boolean;
}

/** The answer of an import, from what its change gave, as `viewer` (a uid) may see it. Throws base-not-found. */
export async function importedBase(
  room: { store: Store },
  given: Json | undefined,
  viewer: number,
): Promise<Omit<ImportedBase, 'name'> & { base: BasePage }> {
  const { name, existed } = given as unknown as ImportedBase;
  return { base: await showBase(room, name, viewer), existed };
}

/** The uid of who imported the base; undefined when there is none of that name or digest. */
export async function ownerOfBase(
  { store }: { store: Store },
  reference: string,
): Promise<number | undefined> {
  return (await findBaseRow(store, reference))?.owner;
}
