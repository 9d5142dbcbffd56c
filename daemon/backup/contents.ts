import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { digestToFileName } from '../../ipc/values.ts';
import { type Paths, statePlaces } from '../config/paths.ts';
import { namesOf } from '../kernel/files.ts';
import type { Driver, Row } from '../store/store.ts';
import { archiveNames, isStateFile, type LiveSlot } from './archive.ts';

/** A file of the state tree that belongs into a backup. */
export interface StateFile {
  /** Relative to the state tree. */
  path: string;
  /** SHA-256 that its bytes have, in hexadecimal, where a row tells it. */
  sha256?: string;
}

/** Everything that the rows of one moment name. */
export interface Contents {
  schema: number;
  bases: number;
  personas: number;
  slots: string[];
  live: LiveSlot[];
  files: StateFile[];
  /** Below the folder `slots`: what to take, and of which folders only the folder. */
  taken: string[];
  emptied: string[];
  /** Folders of slots that lie in volumes, each with the place in the folder `slots` where a backup has it. */
  grafts: { path: string; folder: string }[];
  /** Bytes of sealed uppers, as far as they were counted. */
  sealedBytes: number;
}

/** The folder of a slot's uppers in a volume. Throws while it cannot be reached. */
export type FolderOf = (slot: string, volume: { name: string; folder: string }) => string;

const fileOf = (digest: unknown) => digestToFileName(String(digest));
const hexOf = (digest: unknown) => String(digest).replace('sha256:', '');

/** What belongs into a backup whose rows are those of `rows`, a copy that nobody writes to. Throws state-damaged. */
export async function contentsOf(
  rows: Driver,
  { state }: Pick<Paths, 'state'>,
  folderOf: FolderOf,
): Promise<Contents> {
  const all = (sql: string) => rows.all(sql, []);
  const uppers = await all("SELECT * FROM uppers WHERE state <> 'gone'");
  const slots = await all('SELECT * FROM slots ORDER BY name');
  const generations = await all('SELECT slot, number FROM generations');
  const [counts] = await all(`SELECT (SELECT count(*) FROM bases) AS bases,
    (SELECT count(*) FROM personas) AS personas`);
  const [version] = await all('PRAGMA user_version');
  const files = [
    ...keysOf(state),
    ...layersOf(state, await all('SELECT digest FROM layers')),
    ...personasOf(state, await all(personaSql)),
  ];
  const thrownAway = new Set(
    slots.flatMap(({ name, ephemeral }) => (ephemeral === 1 ? [name] : [])),
  );
  const place = ({ slot, id }: Row) => `${slot}/uppers/${id}`;
  return {
    schema: Number(version?.user_version),
    bases: Number(counts?.bases),
    personas: Number(counts?.personas),
    slots: slots.map(({ name }) => String(name)),
    live: slots.flatMap((slot) => liveOf(slot, uppers)),
    files,
    taken: [
      ...uppers.flatMap((upper) => [place(upper), `${place(upper)}.json`]),
      ...generations.map(({ slot, number }) => `${slot}/generations/${number}.json`),
    ],
    emptied: [
      ...uppers.map((upper) => `${place(upper)}/work`),
      ...uppers.filter(({ slot }) => thrownAway.has(String(slot))).map((one) => `${place(one)}/fs`),
    ],
    grafts: slots.flatMap((slot) => graftOf(slot, folderOf)),
    sealedBytes: uppers.reduce((sum, { detail }) => sum + bytesIn(detail), 0),
  };
}

const personaSql = `SELECT DISTINCT digest, detail ->> '$.fileDigest' AS file, origin_digest FROM personas`;

function bytesIn(detail: unknown): number {
  return Number((JSON.parse(String(detail)) as { bytes?: number }).bytes ?? 0);
}

function graftOf({ name, detail }: Row, folderOf: FolderOf): Contents['grafts'] {
  const { volume } = JSON.parse(String(detail)) as { volume?: { name: string; folder: string } };
  if (volume === undefined) return [];
  return [{ path: `${name}/uppers`, folder: folderOf(String(name), volume) }];
}

/** The slot's name when it shows a tree that keeps what is written. */
function liveOf({ name, current, ephemeral }: Row, uppers: Row[]): LiveSlot[] {
  const open = uppers.some(({ slot, state }) => slot === name && state !== 'sealed');
  if (current === null || ephemeral === 1 || !open) return [];
  return [{ slot: String(name), generation: Number(current) }];
}

/** What an editor or a person has left beside the keys is not taken: no restore would take it up. */
function keysOf(state: string): StateFile[] {
  return [statePlaces.keys, statePlaces.trustedKeys].flatMap((folder) =>
    namesOf(join(state, folder), 'file')
      .map((name) => ({ path: `${folder}/${name}` }))
      .filter(({ path }) => isStateFile(path)),
  );
}

function layersOf(state: string, rows: Row[]): StateFile[] {
  const there = new Set(namesOf(join(state, statePlaces.layers), 'file'));
  return rows.flatMap(({ digest }) => {
    const name = fileOf(digest);
    const image = { name: `${name}.erofs`, sha256: hexOf(digest) };
    return present(there, statePlaces.layers, [image], [`${name}.json`]);
  });
}

function personasOf(state: string, rows: Row[]): StateFile[] {
  const there = new Set(namesOf(join(state, statePlaces.personas), 'file'));
  return rows.flatMap(({ digest, file, origin_digest: origin }) => {
    const name = fileOf(digest);
    const needed = [{ name: `${name}.osp`, sha256: hexOf(file) }];
    if (origin !== null) needed.push({ name: `${name}.original`, sha256: hexOf(origin) });
    return present(there, statePlaces.personas, needed, [`${name}.json`]);
  });
}

function present(
  there: ReadonlySet<string>,
  folder: string,
  needed: { name: string; sha256: string }[],
  records: string[],
): StateFile[] {
  const missing = needed.find(({ name }) => !there.has(name));
  if (missing !== undefined)
    throw new PersonaError('state-damaged', `${folder}/${missing.name} is not there`);
  return [
    ...needed.map(({ name, sha256 }) => ({ path: `${folder}/${name}`, sha256 })),
    ...records.filter((name) => there.has(name)).map((name) => ({ path: `${folder}/${name}` })),
  ];
}

/** The name that a file of the state tree has in a backup. */
export function memberOf({ path }: StateFile): string {
  return `${archiveNames.state}${path}`;
}
