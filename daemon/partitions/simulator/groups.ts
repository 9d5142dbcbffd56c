import type { HeldGroup } from '../../kernel/held-group.ts';
import type { Knob } from '../knobs.ts';
import type { LeaseGround, LeasePage } from '../lease-ground.ts';
import { type Amount, type Side, sides } from '../observation.ts';
import type { Places } from '../places.ts';
import type { SimulatedMachine } from './machine.ts';

/** A pair of groups that exists only in memory: their names are the sides'. */
export const simulatedPlaces: Places = {
  groups: { user: 'user', system: 'system' },
  memory: { root: '/simulated', version: 2 },
  recursive: true,
};

const knobs: readonly string[] = ['memory.low', 'memory.high'] satisfies Knob[];
const isKnob = (name: string): name is Knob => knobs.includes(name);

/** The kernel keeps whole pages. */
const PAGE = 4096;

function amountOf(text: string): Amount {
  const bytes = Number(text);
  return text === 'max' || !Number.isFinite(bytes) ? 'max' : Math.floor(bytes / PAGE) * PAGE;
}

/** One side's group as it is held open: its knobs are texts, as files have them. */
const groupOf = (machine: SimulatedMachine, side: Side): HeldGroup => ({
  id: side,
  read: (knob) => (isKnob(knob) ? String(machine.read(side, knob)) : undefined),
  async write(knob, value) {
    if (isKnob(knob)) machine.write(side, knob, amountOf(value));
  },
  async settled() {},
  close() {},
});

/** The groups of a simulated machine, for the very leases of a real one. */
export const simulatedGround = (machine: SimulatedMachine): LeaseGround => ({
  hold(_, group) {
    const side = sides.find((one) => simulatedPlaces.groups[one] === group);
    return side && groupOf(machine, side);
  },
});

/** What would be a file of the run tree: it is there when the one who wrote it is not. */
export function simulatedPage(): LeasePage {
  let text: string | undefined;
  return {
    name: 'the simulated leases',
    read: () => text,
    async write(wanted) {
      text = wanted;
    },
    async remove() {
      text = undefined;
    },
    putAside() {
      text = undefined;
      return 'nowhere';
    },
  };
}
