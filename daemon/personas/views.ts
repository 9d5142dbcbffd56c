import type { Inside } from '../kernel/processes.ts';
import type { SlotBook } from './slot-book.ts';
import type { Generation, Slot } from './slot-rows.ts';

/** A generation as callers see it. */
export interface GenerationView {
  number: number;
  persona?: { name: string; digest: string };
  base: { digest: string; name?: string };
  state: Generation['state'];
  reason: Generation['reason'];
  startedMs: number;
  endedMs?: number;
  changeId?: number;
  upper: {
    id: string;
    state: 'active' | 'draining' | 'sealed' | 'discarded' | 'throw-away';
    bytes?: number;
    below?: number;
  };
  failure?: string;
}

/** A program that has something open in a tree. */
export interface HolderView {
  pid: number;
  uid: number;
  command: string;
}

function upperView(book: SlotBook, slot: Slot, id: string): GenerationView['upper'] {
  if (!book.knowsUpper(id)) return { id, state: 'discarded' };
  const { state, bytes, below } = book.upper(id);
  const throwAway = slot.ephemeral && state === 'active';
  return {
    id,
    state: throwAway ? 'throw-away' : state === 'gone' ? 'discarded' : state,
    ...(bytes === undefined ? {} : { bytes }),
    below: below.length,
  };
}

/** What callers may know of a generation. */
export function generationView(book: SlotBook, slot: Slot, generation: Generation): GenerationView {
  const { number, persona, base, state, reason, startedMs, endedMs, changeId, failure } =
    generation;
  return {
    number,
    ...(persona === undefined ? {} : { persona: { name: persona.name, digest: persona.digest } }),
    base: { digest: base.digest, ...(base.name === undefined ? {} : { name: base.name }) },
    state,
    reason,
    startedMs,
    ...(endedMs === undefined ? {} : { endedMs }),
    ...(changeId === undefined ? {} : { changeId }),
    upper: upperView(book, slot, generation.upper),
    ...(failure === undefined ? {} : { failure }),
  };
}

/** A program as callers see it; its name is any bytes until the last printer escapes it. */
export function holderView({ pid, uid, name }: Inside): HolderView {
  return { pid, uid, command: name };
}
