import { PersonaError } from '../../ipc/errors.ts';
import type { Row, SqlValue, Store, Tx } from '../store/store.ts';
import type { Failure, Plan } from './change.ts';
import type { Faults } from './faults.ts';
import type { ChangeStatus, ChangeStep, TaskStep } from './status.ts';
import type { Json } from './task.ts';
import { withNext } from './with-next.ts';

/** One line of the journal. `save` keeps a value for `undo` and changes no status. */
export interface JournalEvent {
  task?: number;
  step: ChangeStep | TaskStep | 'create' | 'save';
  detail?: Json;
}

/** What one commit of the journal holds: lines, the new status, and the room's own rows. */
export interface Entry {
  changeId: number;
  events: JournalEvent[];
  status?: ChangeStatus;
  create?: Plan;
  ended?: { error?: Failure | undefined; result?: Json | undefined };
  /** Kept while the change is open, so that a restart still knows why it is being undone. */
  error?: Failure | undefined;
  /** The answer so far: recovery after the point of no return must not lose it. */
  result?: Json | undefined;
  record?: ((tx: Tx) => void) | undefined;
}

/** A change as the journal has it. */
export interface Stored {
  id: number;
  plan: Plan;
  status: ChangeStatus;
  createdMs: number;
  endedMs?: number;
  error?: Failure;
  result?: Json;
  events: JournalEvent[];
}

/** The durable memory of the engine. */
export interface Journal {
  /** Commits an entry; resolves when it is on the disk. */
  append(entry: Entry): Promise<void>;
  /**
   * Commits an entry together with the next one of its change, in one transaction; by itself and without a flush when that one does
   * not come for 20 ms. Resolves when it is written. Only while nothing of the change outlives the machine's memory.
   */
  appendWithNext(entry: Entry): Promise<void>;
  /** Adds an entry to the next commit: only for what recovery would find again. */
  appendSoon(entry: Entry): Promise<void>;
  /** All changes that have not ended, oldest first. */
  open(): Promise<Stored[]>;
  load(id: number): Promise<Stored | undefined>;
  /** Ended changes, newest first. */
  ended(limit: number, ownerUid?: number): Promise<Stored[]>;
  lastId(): Promise<number>;
  /** Forgets ended changes but for the newest `keep`. */
  prune(keep: number): Promise<void>;
}

interface ChangeRow extends Row {
  id: number;
  plan: string;
  status: string;
  created: number;
  ended: number | null;
  error: string | null;
  result: string | null;
}

function text(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

/**
 * `order` gives each event a number above all earlier ones: in it the events of a change are read back. Two statements
 * beside the room's own: compiling them takes longer than running them.
 */
function writeEntry(tx: Tx, entry: Entry, now: number, order: () => number): void {
  const { changeId, create, status, ...facts } = entry;
  if (create !== undefined)
    tx.run(
      'INSERT INTO changes (id, kind, summary, owner, plan, status, created) VALUES (?, ?, ?, ?, ?, ?, ?)',
      changeId,
      create.kind,
      create.summary,
      create.ownerUid,
      JSON.stringify(create),
      status ?? 'queued',
      now,
    );
  updateChange(tx, create === undefined ? entry : { changeId, ...facts }, now);
  writeEvents(tx, entry, now, order);
  entry.record?.(tx);
}

/** Writes what the entry says of the change itself; the outcome of its end stands over what was kept until then. */
function updateChange(
  tx: Tx,
  { changeId, status, error, result, ended }: Entry,
  now: number,
): void {
  const facts: Record<string, SqlValue> = {
    ...(status === undefined ? {} : { status }),
    ...(error === undefined ? {} : { error: text(error) }),
    ...(result === undefined ? {} : { result: text(result) }),
    ...(ended && { ended: now, error: text(ended.error), result: text(ended.result) }),
  };
  const names = Object.keys(facts);
  if (names.length === 0) return;
  const set = names.map((name) => `${name} = ?`).join(', ');
  tx.run(`UPDATE changes SET ${set} WHERE id = ?`, ...Object.values(facts), changeId);
}

function writeEvents(tx: Tx, { changeId, events }: Entry, now: number, order: () => number): void {
  if (events.length === 0) return;
  const rows = events.map(() => '(?, ?, ?, ?, ?, ?)').join(', ');
  tx.run(
    `INSERT INTO events (change, seq, task, event, at, detail) VALUES ${rows}`,
    ...events.flatMap(({ task, step, detail }) => [
      changeId,
      order(),
      task ?? null,
      step,
      now,
      text(detail),
    ]),
  );
}

/**
 * Commits, and once more when `relieve` made room, be it for another write that had failed as well: there is nothing to give twice.
 */
function withRelief(relieve: (error: unknown) => Promise<boolean>) {
  let times = 0;
  let turn: Promise<unknown> = Promise.resolve();
  const relieved = (error: unknown, before: number): Promise<boolean> => {
    const mine = turn.then(async () => {
      if (times > before) return true;
      const made = await relieve(error);
      if (made) times += 1;
      return made;
    });
    turn = mine.catch(() => undefined);
    return mine;
  };
  return async (commit: () => Promise<void>): Promise<void> => {
    const before = times;
    await commit().catch(async (error) => {
      if (!(await relieved(error, before))) throw error;
      await commit();
    });
  };
}

/**
 * The journal over `store`. When a write fails `relieve` may make room for it; if it says that it did, the write
 * is tried once more. `now` is the time in milliseconds since 1970.
 */
export function journalOver(
  store: Store,
  faults: Faults,
  now: () => number,
  relieve: (error: unknown) => Promise<boolean> = async () => false,
): Journal {
  const load = async (rows: ChangeRow[]): Promise<Stored[]> => {
    const found: Stored[] = [];
    for (const row of rows) {
      const events = await store.all<EventRow>(
        'SELECT task, event, detail FROM events WHERE change = ? ORDER BY seq',
        row.id,
      );
      found.push(storedOf(row, events));
    }
    return found;
  };
  const relieved = withRelief(relieve);
  let lastOrder: number | undefined;
  const order = (): number => {
    lastOrder = (lastOrder ?? 0) + 1;
    return lastOrder;
  };
  const readOrder = async (): Promise<void> => {
    const row = await store.get('SELECT max(seq) AS seq FROM events');
    lastOrder = Math.max(lastOrder ?? 0, Number(row?.seq ?? 0));
  };
  const write = async (entry: Entry, durable: boolean): Promise<void> => {
    if (lastOrder === undefined) await readOrder();
    const point = entry.events.map((event) => `${event.step}${event.task ?? ''}`).join('+');
    await faults.at(`journal:before:${point}`);
    const collect = (tx: Tx) => writeEntry(tx, entry, now(), order);
    const commit = () => (durable ? store.commit : store.commitUnflushed)(collect);
    await relieved(commit);
    await faults.at(`journal:after:${point}`);
  };
  return {
    ...withNext(write),
    appendSoon(entry) {
      const at = now();
      return store.commitSoon((tx) => writeEntry(tx, entry, at, order));
    },
    open: async () =>
      load(await store.all<ChangeRow>('SELECT * FROM changes WHERE ended IS NULL ORDER BY id')),
    load: async (id) => (await load(await store.all('SELECT * FROM changes WHERE id = ?', id)))[0],
    ended: async (limit, ownerUid) =>
      load(
        await store.all<ChangeRow>(
          `SELECT * FROM changes WHERE ended IS NOT NULL AND owner = coalesce(?, owner)
           ORDER BY id DESC LIMIT ?`,
          ownerUid ?? null,
          limit,
        ),
      ),
    async lastId() {
      await readOrder();
      return Number((await store.get('SELECT max(id) AS id FROM changes'))?.id ?? 0);
    },
    prune: (keep) =>
      store.commitSoon((tx) =>
        tx.run(
          `DELETE FROM changes WHERE ended IS NOT NULL AND id NOT IN
           (SELECT id FROM changes ORDER BY id DESC LIMIT ?)`,
          keep,
        ),
      ),
  };
}

interface EventRow extends Row {
  task: number | null;
  event: string;
  detail: string | null;
}

function storedOf(row: ChangeRow, events: EventRow[]): Stored {
  return {
    id: row.id,
    plan: JSON.parse(row.plan) as Plan,
    status: row.status as ChangeStatus,
    createdMs: row.created,
    ...(row.ended === null ? {} : { endedMs: row.ended }),
    ...(row.error === null ? {} : { error: JSON.parse(row.error) as Failure }),
    ...(row.result === null ? {} : { result: JSON.parse(row.result) as Json }),
    events: events.map((one) => ({
      step: one.event as JournalEvent['step'],
      ...(one.task === null ? {} : { task: one.task }),
      ...(one.detail === null ? {} : { detail: JSON.parse(one.detail) as Json }),
    })),
  };
}

/** `value` when it may be journalled; throws when it is too large or holds what JSON cannot keep. */
export function checkedValue(value: Json, what: string, bytesMax: number): Json {
  const size = JSON.stringify(value)?.length ?? 0;
  if (size > bytesMax)
    throw new PersonaError('limit-exceeded', { what, limit: `${bytesMax} bytes` });
  return value;
}
