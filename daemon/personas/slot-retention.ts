import type { SlotBook } from './slot-book.ts';
import type { Generation, Slot, Upper } from './slot-rows.ts';

/** How long the past of a slot is kept. */
export interface Retention {
  /** Newest ended generations that stay for rollback. */
  generations: number;
  /** The upper of a failed generation stays at least so long after its end. */
  failedMs: number;
}

/** What one slot can give up: ended generations, and sealed uppers that only they went on. */
export interface Dispensable {
  slot: string;
  generations: number[];
  uppers: Upper[];
}

const DAY_MS = 86_400_000;

/** The retention of the settings. */
export function retentionOf(generations: number, failedDays: number): Retention {
  return { generations, failedMs: failedDays * DAY_MS };
}

function mayGo(one: Generation, slot: Slot, retention: Retention, nowMs: number): boolean {
  if (one.number === slot.current || one.state === 'trial') return false;
  return one.state !== 'failed' || (one.endedMs ?? nowMs) + retention.failedMs < nowMs;
}

/** Pure: what a slot can give up now. Whatever a kept generation needs to be shown again stays. */
export function dispensable(
  book: SlotBook,
  slot: Slot,
  retention: Retention,
  nowMs: number,
): Dispensable {
  const all = book.generations(slot.name);
  const ended = all.filter((one) => one.number !== slot.current);
  const kept = retention.generations === 0 ? [] : ended.slice(-retention.generations);
  const young = new Set(kept.map((one) => one.number));
  const going = ended.filter((one) => !young.has(one.number) && mayGo(one, slot, retention, nowMs));
  const gone = new Set(going.map(({ number }) => number));
  const needed = new Set<string>();
  for (const { number, upper } of all) if (!gone.has(number)) needed.add(upper);
  const uppers = book.uppersOf(slot.name);
  for (const { id, state, below, mergedAs } of uppers) {
    const mounted = state === 'active' || state === 'draining';
    if (!needed.has(id) && !mounted) continue;
    // What was merged stands for all below it; what is mounted uses the parts it was made of.
    const merged = !mounted && mergedAs !== undefined && book.knowsUpper(mergedAs);
    for (const under of merged ? [mergedAs] : below) needed.add(under);
  }
  return {
    slot: slot.name,
    generations: [...gone],
    uppers: uppers.filter(({ id, state }) => state === 'sealed' && !needed.has(id)),
  };
}
