import type { Store } from '../store/store.ts';
import {
  diskFields,
  type HistoryRow,
  historyFields,
  historySteps,
  placeOf,
  type Sums,
} from './history.ts';

const rowsOf = (stepMs: number): number => historySteps.find(({ ms }) => ms === stepMs)?.rows ?? 1;

function sumsIn<Field extends string>(fields: readonly Field[], value: object): Sums<Field> {
  const sums: Sums<Field> = {};
  for (const field of fields) {
    const pair: unknown = (value as Record<string, unknown>)[field];
    if (Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite))
      sums[field] = pair as [number, number];
  }
  return sums;
}

/** What a row has beside its place. What is none is passed over. */
function parsed(detail: unknown): Pick<HistoryRow, 'sums' | 'disks'> {
  try {
    const value = JSON.parse(String(detail)) as { disks?: Record<string, object> };
    const disks = Object.entries(value.disks ?? {}).map(([name, one]) => [
      name,
      sumsIn(diskFields, one),
    ]);
    return {
      sums: sumsIn(historyFields, value),
      ...(disks.length > 0 && { disks: Object.fromEntries(disks) }),
    };
  } catch {
    return { sums: {} };
  }
}

/** Writes rows at their places; a power cut may lose the newest. Resolves when they are on the disk. */
export async function writeHistory(store: Store, rows: readonly HistoryRow[]): Promise<void> {
  if (rows.length === 0) return;
  await store.commitSoon((tx) => {
    for (const { stepMs, atMs, sums, disks } of rows)
      tx.run(
        'INSERT OR REPLACE INTO partition_history (step, place, at, detail) VALUES (?, ?, ?, ?)',
        stepMs,
        placeOf(stepMs, rowsOf(stepMs), atMs),
        atMs,
        JSON.stringify({ ...sums, ...(disks && { disks }) }),
      );
  });
}

/** The rows of one ring from `sinceMs` on, the oldest first. Rows of the future come from a clock that was wrong: left out. */
export async function readHistory(
  store: Store,
  stepMs: number,
  sinceMs: number,
  nowMs: number,
): Promise<HistoryRow[]> {
  const rows = await store.all(
    'SELECT at, detail FROM partition_history WHERE step = ? AND at >= ? AND at <= ? ORDER BY at',
    stepMs,
    sinceMs,
    nowMs,
  );
  return rows.map(({ at, detail }) => ({ stepMs, atMs: Number(at), ...parsed(detail) }));
}

/** The rows whose time is not over: a restarted daemon goes on with them. */
export async function openRows(store: Store, nowMs: number): Promise<HistoryRow[]> {
  const found: HistoryRow[] = [];
  for (const { ms } of historySteps)
    found.push(...(await readHistory(store, ms, Math.floor(nowMs / ms) * ms, nowMs)));
  return found;
}
