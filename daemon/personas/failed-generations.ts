import type { SlotBook } from './slot-book.ts';
import type { Retention } from './slot-retention.ts';

/** A generation that a slot has returned from by itself. */
export interface FailedGeneration {
  slot: string;
  number: number;
  failure: string;
  /** What was written in it, when anything was: kept until then at least. */
  upper?: string;
  keptUntilMs: number;
}

/** Pure: the generations that have failed and are kept for that, the oldest of each slot first (SECURITY 28). */
export function failedGenerations(
  book: SlotBook,
  { failedMs }: Retention,
  nowMs: number,
): FailedGeneration[] {
  return book.slots().flatMap(({ name }) =>
    book
      .generations(name)
      .filter(({ state }) => state === 'failed')
      .map(({ number, failure, upper, endedMs, startedMs }) => ({
        slot: name,
        number,
        failure: failure ?? 'for a reason that was not written down',
        ...(book.knowsUpper(upper) && book.upper(upper).state !== 'gone' ? { upper } : {}),
        keptUntilMs: (endedMs ?? startedMs) + failedMs,
      }))
      .filter(({ keptUntilMs }) => keptUntilMs > nowMs),
  );
}
