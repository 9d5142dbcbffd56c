import type { Json } from '../changes/task.ts';
import { removeFile } from '../kernel/files.ts';
import type { Tx } from '../store/store.ts';
import { dispensable, type Retention } from './slot-retention.ts';
import type { SlotRoom } from './slot-room.ts';

/** What goes of one slot, as plain data. */
interface Going {
  slot: string;
  generations: number[];
  uppers: { id: string; bytes: number }[];
}

/** One removed thing, as a collection names it. */
export interface Removed {
  kind: string;
  name: string;
  bytes: number;
}

/** As many of `all` as there are places left. */
function within<T>(all: T[], left: { things: number }): T[] {
  const taken = all.slice(0, left.things);
  left.things -= taken.length;
  return taken;
}

/** A record takes one block of the file system. */
const recordBytes = 4096;

/** The ended generations of a slot go by their number, not one by one. */
function recordsOf({ slot, generations }: Going): Removed[] {
  const count = generations.length;
  const name = `${slot}: ${count} ended`;
  return count === 0 ? [] : [{ kind: 'generations', name, bytes: count * recordBytes }];
}

function thingsOf(going: Going): Removed[] {
  const { slot, uppers } = going;
  const folders = uppers.map(({ id, bytes }) => ({ kind: 'uppers', name: `${slot}/${id}`, bytes }));
  return [...recordsOf(going), ...folders];
}

/** The past of slots beyond its retention: found, forgotten and removed by a collection. */
export class SlotCollector {
  readonly key = 'slots';
  readonly #room: SlotRoom;
  readonly #retention: Retention;

  constructor(room: SlotRoom, retention: Retention) {
    this.#room = room;
    this.#retention = retention;
  }

  /** What slots can give up now, at most so many things; the slots concerned are held meanwhile. */
  async find(most: number): Promise<{ things: Removed[]; holds: string[]; params: Json }> {
    const { book, places, now } = this.#room;
    const left = { things: most };
    const going = book
      .slots()
      .filter((slot) => places.problem(slot) === undefined)
      .map((slot) => dispensable(book, slot, this.#retention, now()))
      .map(({ slot, generations, uppers }) => ({
        slot,
        generations: within(generations, left),
        uppers: within(uppers, left).map(({ id, bytes = 0 }) => ({ id, bytes })),
      }))
      .filter(({ generations, uppers }) => generations.length + uppers.length > 0);
    return {
      things: going.flatMap(thingsOf),
      holds: going.map(({ slot }) => `slot:${slot}`),
      params: going,
    };
  }

  /** What the parameters stand for. */
  things(params: Json): Removed[] {
    return ((params ?? []) as unknown as Going[]).flatMap(thingsOf);
  }

  /** The rows go in one transaction, each only while nothing kept needs it. */
  forget(tx: Tx, params: Json): void {
    for (const { slot, generations, uppers } of params as unknown as Going[]) {
      for (const number of generations)
        tx.run(
          `DELETE FROM generations WHERE slot = ? AND number = ?
             AND number IS NOT (SELECT current FROM slots WHERE name = ?)`,
          slot,
          number,
          slot,
        );
      for (const { id } of uppers)
        tx.run(
          `DELETE FROM uppers WHERE id = ? AND state = 'sealed'
             AND NOT EXISTS (SELECT 1 FROM generations WHERE upper = uppers.id)
             AND NOT EXISTS (SELECT 1 FROM uppers AS above, json_each(above.below) AS under
                             WHERE under.value = uppers.id AND above.state IN ('active', 'draining'))`,
          id,
        );
    }
  }

  /** Removes folders and records whose rows are gone. */
  async remove(context: { fault(point: string): Promise<void> }, params: Json): Promise<Removed[]> {
    const { book, next, store, uppers: folders, records, state } = this.#room;
    await records.flush();
    const removed: Removed[] = [];
    for (const { slot, generations, uppers } of params as unknown as Going[]) {
      await next.drop(slot); // it may lie on what goes now
      const rows = await store.all('SELECT number FROM generations WHERE slot = ?', slot);
      const kept = new Set(rows.map(({ number }) => number));
      // Its row stayed; or this is repeated long after, and another slot has the name and counts anew.
      for (const number of generations.filter((one) => !kept.has(one))) {
        book.dropGeneration(slot, number);
        await removeFile(`${state}/${slot}/generations/${number}.json`);
      }
      removed.push(...recordsOf({ slot, generations, uppers }));
      for (const { id, bytes } of uppers) {
        const row = await store.get('SELECT 1 AS found FROM uppers WHERE id = ?', id);
        if (row !== undefined) continue;
        book.dropUpper(id);
        await folders.remove(slot, id);
        await context.fault('removed');
        removed.push({ kind: 'uppers', name: `${slot}/${id}`, bytes });
      }
    }
    return removed;
  }
}
