import { knobKey, type TheirKnobs } from './knob-owners.ts';
import { type Knob, type KnobWrite, knobFile, knobText } from './knobs.ts';
import type { KnobPlace, Leases, Written } from './leases.ts';
import type { Side } from './observation.ts';
import type { Places } from './places.ts';

/** One write of a plan, and what became of it. */
export interface Applied extends KnobWrite {
  state: Written['state'] | 'theirs' | 'only-observed';
  /** What stands there instead, or why it failed. */
  detail?: string;
}

/** The knob of a side in the memory hierarchy. Throws where there is none: nothing is planned there. */
export function knobPlace({ memory, groups }: Places, side: Side, knob: Knob): KnobPlace {
  if (memory === undefined) throw new Error('internal error: a write without a hierarchy');
  const { root, version } = memory;
  const file = knobFile(version, knob);
  return { root, version, controller: 'memory', group: groups[side], knob: file };
}

/** Writes a plan in its order, one after the other; a write that fails does not stop the next. */
export async function applyWrites(
  leases: Leases,
  places: Places,
  writes: readonly KnobWrite[],
  theirs: TheirKnobs,
): Promise<Applied[]> {
  const applied: Applied[] = [];
  for (const write of writes) {
    const other = theirs.get(knobKey(write.side, write.knob));
    if (other !== undefined) {
      applied.push({ ...write, state: 'theirs', detail: String(other.value) });
      continue;
    }
    const place = knobPlace(places, write.side, write.knob);
    const written = await leases.set(place, knobText(place.version, write.value));
    applied.push({ ...write, state: written.state, ...detailOf(written) });
  }
  return applied;
}

function detailOf(written: Written): { detail?: string } {
  if (written.state === 'foreign') return { detail: written.found };
  return written.state === 'refused' ? { detail: written.reason } : {};
}
