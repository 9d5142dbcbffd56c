import { freeValue, type Knob, type KnobWrite } from './knobs.ts';
import { type Amount, type Observation, type Side, sides } from './observation.ts';
import type { Goals } from './policy.ts';

/** The kernel keeps whole pages. */
const PAGE = 4096;

const pages = (bytes: number): number => Math.floor(bytes / PAGE) * PAGE;

/** What a knob is to be for a goal. */
function wanted(goals: Goals, side: Side, knob: Knob): Amount {
  const { lowBytes, highBytes } = goals[side];
  if (knob === 'memory.low') return pages(lowBytes);
  return highBytes === undefined ? freeValue[knob] : pages(highBytes);
}

/** Which write comes first: what gives room, then protections, then what takes room. */
function rank({ knob, value }: KnobWrite, old: Amount): number {
  if (knob === 'memory.low') return 1;
  return value === 'max' || (old !== 'max' && value > old) ? 0 : 2;
}

/**
 * The writes that bring the knobs, as they were seen, to the goals; none for a knob or a group that is not there.
 * Applied and seen again, it gives none. Pure.
 */
export function planWrites(goals: Goals, now: Observation): KnobWrite[] {
  const found: { write: KnobWrite; rank: number }[] = [];
  for (const side of sides) {
    const seen = now.sides[side];
    const values: [Knob, Amount | undefined][] = [
      ['memory.high', seen?.high],
      ['memory.low', seen?.low],
    ];
    for (const [knob, old] of values) {
      if (old === undefined) continue;
      const value = wanted(goals, side, knob);
      const write = { side, knob, value };
      if (value !== old) found.push({ write, rank: rank(write, old) });
    }
  }
  return found.sort((one, other) => one.rank - other.rank).map(({ write }) => write);
}
