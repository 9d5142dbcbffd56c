import { PersonaError } from '../../ipc/errors.ts';
import type { Activatable } from './persona-source.ts';
import type { SlotBook } from './slot-book.ts';
import type { Generation, Slot } from './slot-rows.ts';

/** What a swap or rollback activates: decided when it is planned, so that a dry run shows it. */
export interface Target {
  what: Activatable;
  reason: 'swap' | 'fresh' | 'rollback';
  /** The generation it goes back to, by number. */
  returnsTo?: number;
}

/** The generation whose state a target goes on from; undefined for an empty upper. */
export function continues(
  book: SlotBook,
  slot: Slot,
  target: Target,
  stack: string,
): Generation | undefined {
  if (target.reason === 'fresh' || slot.ephemeral) return undefined;
  if (target.reason === 'rollback') {
    return target.returnsTo === undefined
      ? undefined
      : book.generation(slot.name, target.returnsTo);
  }
  return book.latestOn(slot.name, stack);
}

/** The number that rollbacks have led back to from `current`, and whether that generation is still kept. */
function backAt(book: SlotBook, current: Generation): { number: number; kept: boolean } {
  const { slot } = current;
  let from = current;
  // Each step goes to a smaller number, so this ends.
  while (from.returnsTo !== undefined) {
    const to = book.generations(slot).find(({ number }) => number === from.returnsTo);
    if (to === undefined) return { number: from.returnsTo, kept: false };
    from = to;
  }
  return { number: from.number, kept: true };
}

/**
 * The generation a plain rollback goes back to: the last good one before what is active now. After a rollback
 * to N that is the one before N, so that a second rollback goes further back and not forth again. Where N and all
 * before it were collected, it is the newest good one there is.
 */
export function before(book: SlotBook, slot: Slot): Generation {
  const current = book.current(slot);
  if (current === undefined) throw new PersonaError('slot-empty', { slot: slot.name });
  const at = backAt(book, current);
  const others = book
    .generations(slot.name)
    .filter(({ number, state }) => number !== current.number && state === 'good');
  const found =
    others.findLast(({ number }) => number < at.number) ?? (at.kept ? undefined : others.at(-1));
  if (found !== undefined) return found;
  const went = at.number === current.number ? '' : `went back to generation ${at.number}, which `;
  throw new PersonaError('bad-value', {
    name: slot.name,
    reason: `generation ${current.number} ${went}has no good generation before it; \`--to N\` goes to any one, \`--base\` to the clean base`,
  });
}

/** What to activate to be back at a generation. */
export function activatableOf(generation: Generation): Activatable {
  const { persona, base, layers, environment } = generation;
  return { ...(persona === undefined ? {} : { persona }), base, layers, environment };
}
