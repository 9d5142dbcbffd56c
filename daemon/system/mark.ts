import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { statePlaces } from '../config/paths.ts';
import { readRecord, writeRecord } from '../kernel/records.ts';
import type { Driver, SqlValue, Store } from '../store/store.ts';

const markKind = 'mark';
const identityFact = 'identity';

/** What the state tree remembers of its database, outside of the database. */
interface Mark {
  /** Made with the database: tells another one in its place. */
  identity: string;
  /** Highest change the database is known to have held. */
  lastChange: number;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** True when the tree holds images, personas or slots: then it had a database. */
export function holdsThings(state: string): boolean {
  const { layers, personas, slots } = statePlaces;
  // What begins with a dot is never a slot.
  return [layers, personas, slots].some((place) =>
    names(join(state, place)).some((name) => !name.startsWith('.')),
  );
}

async function readMark(state: string): Promise<Mark | undefined> {
  const body = await readRecord(join(state, statePlaces.mark), markKind);
  return body as Mark | undefined;
}

/** The highest generation of a slot that its records speak of. They are written after the rows. */
function recordedGeneration(state: string, slot: string): number {
  const records = names(join(state, statePlaces.slots, slot, 'generations'));
  const numbers = records.map((name) => Number(/^(\d+)\.json$/.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

/**
 * Why the database cannot be the one this tree was last used with, or undefined. A database that was
 * replaced or restored from an older copy would make recovery and collection remove what it does not
 * know, so the daemon must not write then. `read` asks a database whose schema may be of any version.
 */
export async function mismatch(state: string, read: Driver['all']): Promise<string | undefined> {
  const get = async (sql: string, ...values: SqlValue[]) => (await read(sql, values))[0];
  const identity = (await get('SELECT value FROM facts WHERE name = ?', identityFact))?.value;
  const mark = await readMark(state);
  if (mark !== undefined && mark.identity !== identity)
    return 'the database is not the one of this state tree';
  const last = Number((await get('SELECT max(id) AS id FROM changes'))?.id ?? 0);
  if (mark !== undefined && last < mark.lastChange)
    return `the database is older than the state tree: it ends at change ${last}, not ${mark.lastChange}`;
  // A slot that a change is removing has lost its rows before its records.
  const open = (await read('SELECT plan FROM changes WHERE ended IS NULL', []))
    .map(({ plan }) => String(plan))
    .join();
  for (const slot of names(join(state, statePlaces.slots))) {
    if (open.includes(`"slot:${slot}"`)) continue;
    const row = await get('SELECT max(number) AS n FROM generations WHERE slot = ?', slot);
    const found = recordedGeneration(state, slot);
    if (found > Number(row?.n ?? 0))
      return `the database is older than slot ${slot}: it misses generation ${found}`;
  }
  return undefined;
}

/** Gives a fresh database its identity. */
export async function identify(store: Store): Promise<void> {
  await store.commit((tx) =>
    tx.run('INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)', identityFact, randomUUID()),
  );
}

/** Writes down, outside of the database, how far it has come. */
export async function writeMark(state: string, store: Store): Promise<void> {
  const identity = (await store.get('SELECT value FROM facts WHERE name = ?', identityFact))?.value;
  const last = Number((await store.get('SELECT max(id) AS id FROM changes'))?.id ?? 0);
  const mark: Mark = { identity: String(identity), lastChange: last };
  await writeRecord(join(state, statePlaces.mark), markKind, { ...mark });
}

/** Writes the mark soon after changes: at most once per `everyMs`, and for the last one of them. */
export function markSoon(
  write: () => Promise<void>,
  everyMs: number,
): { ended(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  return {
    ended() {
      timer ??= setTimeout(() => {
        timer = undefined;
        void write();
      }, everyMs).unref();
    },
    stop() {
      clearTimeout(timer);
    },
  };
}
