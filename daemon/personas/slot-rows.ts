import type { Xattrs } from '../kernel/xattrs.ts';
import type { Row, Store, Tx } from '../store/store.ts';
import type { Layer } from './layer.ts';

/** A folder of a volume that holds all uppers of one slot. */
export interface InVolume {
  /** Name of the volume. */
  name: string;
  /** Never used before: what an earlier slot of this name has left is not taken for this one's. */
  folder: string;
}

/** A place where one persona is active. */
export interface Slot {
  name: string;
  owner: number;
  /** Group that may pass through the slot's folder. */
  gid: number;
  /** Its uppers are thrown away at the next swap. */
  ephemeral: boolean;
  /** Ids of programs inside, for slots of root: 0 inside is `first` outside. */
  ids?: { first: number; count: number };
  /** Where its uppers lie; absent: in the state tree. */
  volume?: InVolume;
  /** Number of the active generation; absent while the slot is empty. */
  current?: number;
  createdMs: number;
}

/** Why a generation came to be. */
export type Reason = 'swap' | 'fresh' | 'rollback' | 'automatic' | 'recovery';

/** One activation in a slot. Never changed but for `state`, `endedMs` and `failure`. */
export interface Generation {
  slot: string;
  number: number;
  persona?: { name: string; digest: string };
  base: { digest: string; name?: string };
  /** Id of its writable layer. */
  upper: string;
  layers: Layer[];
  environment: Record<string, string>;
  state: 'trial' | 'good' | 'failed';
  reason: Reason;
  /** The generation whose state it went back to, when it is a rollback. */
  returnsTo?: number;
  startedMs: number;
  endedMs?: number;
  changeId?: number;
  failure?: string;
}

/** What a root folder is beside its content, ids as they are on the disk. */
export interface RootShape {
  mode: number;
  uid: number;
  gid: number;
  /** Extended attributes, ACLs among them; absent when there are none. */
  xattrs?: Xattrs;
}

export type UpperState = 'active' | 'draining' | 'sealed' | 'gone';

/** A writable layer. It goes on one stack of layers only, and is in one superblock at a time. */
export interface Upper {
  id: string;
  slot: string;
  /** Digest of the list of layers it was made on. */
  stack: string;
  /** Sealed uppers between it and the layers, top first. */
  below: string[];
  state: UpperState;
  /** Boot in which it was last mounted. */
  boot: string;
  createdMs: number;
  endedMs?: number;
  /** Mode and owner its root folder was given, as on the disk. */
  root: RootShape;
  /** Bytes in it, counted when it was sealed. */
  bytes?: number;
  /** The upper that holds this one and all below it, merged. */
  mergedAs?: string;
}

/** Everything the rows say of slots. */
export interface SlotFacts {
  slots: Slot[];
  generations: Generation[];
  uppers: Upper[];
}

function detailOf<T>(row: Row): T {
  return JSON.parse(String(row.detail)) as T;
}

function slotOf(row: Row): Slot {
  const detail = detailOf<Pick<Slot, 'gid' | 'ids' | 'volume'>>(row);
  return {
    name: String(row.name),
    owner: Number(row.owner),
    ephemeral: row.ephemeral === 1,
    ...(row.current === null ? {} : { current: Number(row.current) }),
    createdMs: Number(row.created),
    ...detail,
  };
}

type GenerationDetail = Omit<
  Generation,
  'slot' | 'number' | 'upper' | 'state' | 'startedMs' | 'endedMs' | 'changeId'
>;

function generationOf(row: Row): Generation {
  return {
    slot: String(row.slot),
    number: Number(row.number),
    upper: String(row.upper),
    state: row.result as Generation['state'],
    startedMs: Number(row.created),
    ...(row.ended === null ? {} : { endedMs: Number(row.ended) }),
    ...(row.change === null ? {} : { changeId: Number(row.change) }),
    ...detailOf<GenerationDetail>(row),
  };
}

function upperOf(row: Row): Upper {
  return {
    id: String(row.id),
    slot: String(row.slot),
    stack: String(row.stack),
    below: JSON.parse(String(row.below)) as string[],
    state: row.state as UpperState,
    boot: String(row.boot ?? ''),
    createdMs: Number(row.created),
    ...(row.ended === null ? {} : { endedMs: Number(row.ended) }),
    ...detailOf<Pick<Upper, 'bytes' | 'root' | 'mergedAs'>>(row),
  };
}

function slotDetail({ gid, ids, volume }: Slot): string {
  return JSON.stringify({ gid, ids, volume });
}

/** Reads all rows; slots are few and generations small, so the room keeps them in memory. */
export async function readFacts(store: Store): Promise<SlotFacts> {
  const slots = await store.all('SELECT * FROM slots ORDER BY name');
  const generations = await store.all('SELECT * FROM generations ORDER BY slot, number');
  const uppers = await store.all('SELECT * FROM uppers ORDER BY created');
  return {
    slots: slots.map(slotOf),
    generations: generations.map(generationOf),
    uppers: uppers.map(upperOf),
  };
}

/** The slot as its row has it, or undefined. */
export async function readSlot(store: Store, name: string): Promise<Slot | undefined> {
  const row = await store.get('SELECT * FROM slots WHERE name = ?', name);
  return row && slotOf(row);
}

/** Adds a slot. */
export function insertSlot(tx: Tx, slot: Slot, change: number): void {
  tx.run(
    'INSERT INTO slots (name, owner, ephemeral, created, change, detail) VALUES (?, ?, ?, ?, ?, ?)',
    slot.name,
    slot.owner,
    slot.ephemeral ? 1 : 0,
    slot.createdMs,
    change,
    slotDetail(slot),
  );
}

/** Writes where the slot's uppers lie from now on. */
export function setSlotVolume(tx: Tx, slot: Slot, volume: InVolume | undefined): void {
  const { volume: _, ...rest } = slot;
  const moved = volume === undefined ? rest : { ...rest, volume };
  tx.run('UPDATE slots SET detail = ? WHERE name = ?', slotDetail(moved), slot.name);
}

/** Forgets a slot with all it had. */
export function deleteSlot(tx: Tx, name: string): void {
  tx.run('DELETE FROM uppers WHERE slot = ?', name);
  tx.run('DELETE FROM generations WHERE slot = ?', name);
  tx.run('DELETE FROM slots WHERE name = ?', name);
}

/** Adds a generation and makes it the slot's current one; the one before has ended. */
export function insertGeneration(tx: Tx, generation: Generation, previous?: number): void {
  const { slot, number, upper, state, startedMs, endedMs: _, changeId, ...detail } = generation;
  if (previous !== undefined) {
    const ended = 'UPDATE generations SET ended = ? WHERE slot = ? AND number = ?';
    tx.run(ended, startedMs, slot, previous);
  }
  tx.run(
    `INSERT INTO generations (slot, number, persona, persona_digest, base_digest, upper, result, created, change, detail)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    slot,
    number,
    generation.persona?.name ?? null,
    generation.persona?.digest ?? null,
    generation.base.digest,
    upper,
    state,
    startedMs,
    changeId ?? null,
    JSON.stringify(detail),
  );
  tx.run('UPDATE slots SET current = ? WHERE name = ?', number, slot);
}

/** Writes what may change of a generation: state, end, failure. */
export function updateGeneration(tx: Tx, generation: Generation): void {
  const { slot, number, upper, state, startedMs: _, endedMs, changeId: __, ...detail } = generation;
  tx.run(
    'UPDATE generations SET result = ?, ended = ?, upper = ?, detail = ? WHERE slot = ? AND number = ?',
    state,
    endedMs ?? null,
    upper,
    JSON.stringify(detail),
    slot,
    number,
  );
}

/** Makes `number` the slot's current generation. */
export function setCurrent(tx: Tx, slot: string, number: number | undefined): void {
  tx.run('UPDATE slots SET current = ? WHERE name = ?', number ?? null, slot);
}

/** Adds an upper or writes its present state. */
export function putUpper(tx: Tx, upper: Upper): void {
  tx.run(
    `INSERT INTO uppers (id, slot, stack, below, state, boot, created, ended, detail)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET state = excluded.state, boot = excluded.boot,
       ended = excluded.ended, detail = excluded.detail`,
    upper.id,
    upper.slot,
    upper.stack,
    JSON.stringify(upper.below),
    upper.state,
    upper.boot,
    upper.createdMs,
    upper.endedMs ?? null,
    JSON.stringify({ root: upper.root, bytes: upper.bytes, mergedAs: upper.mergedAs }),
  );
}
