import { type DiskSharing, hasGoal } from '../kernel/disk-sharing.ts';
import { leaveAloneMs } from './knob-owners.ts';
import { leaseKey, leasesMax } from './lease.ts';
import type { KnobPlace, Leases, Written } from './leases.ts';
import { type Side, sides } from './observation.ts';
import type { Places } from './places.ts';

/** What the settings say of disks. */
export interface IoSettings {
  /** 1 to 10000; 0: left alone. */
  weights: Record<Side, number>;
  /** Turns io.cost on for disks that nothing shares by weights, with a goal where there is none. */
  cost: boolean;
}

/** One knob of the io controller, and what it is to be. */
export interface IoWish extends KnobPlace {
  value: string;
  /** What it is without anybody. */
  free: string;
}

/** What became of a wish. */
export interface IoShare {
  wish: IoWish;
  state: Written['state'];
  /** What stands there instead, or why it failed. */
  detail?: string;
}

/**
 * A disk is busy, and weights act, when of 100 reads or writes more than 5 take longer (microseconds). `min`: it is not slowed
 * below a quarter of what the kernel takes for a plain SSD; `max`: how fast it is need not be known.
 */
const costGoal = 'ctrl=user rpct=95.00 rlat=2000 wpct=95.00 wlat=10000 min=25.00 max=10000.00';
/** Every group starts with this weight. */
const weightFree = '100';
/** Room is kept for the knobs of memory. */
const disksMax = leasesMax - 8;

/** The knobs that the settings ask for. `io.cost.qos` has a line for each disk, in the root group. Pure. */
export function ioWishes(
  { io, groups }: Places,
  { weights, cost }: IoSettings,
  disks: readonly DiskSharing[],
): IoWish[] {
  if (io === undefined) return [];
  const place = { root: io.root, version: 2, controller: 'io' } as const;
  const weighed = sides.filter((side) => weights[side] > 0);
  const wishes: IoWish[] = weighed.map((side) => ({
    ...place,
    group: groups[side],
    knob: 'io.weight',
    value: String(weights[side]),
    free: weightFree,
  }));
  if (!cost || weighed.length === 0) return wishes;
  const unshared = disks.filter(({ by }) => by !== 'bfq').slice(0, disksMax);
  for (const { device, cost: free } of unshared) {
    const value = hasGoal(free) ? free.replace('enable=0', 'enable=1') : `enable=1 ${costGoal}`;
    wishes.push({ ...place, group: '.', knob: 'io.cost.qos', device, value, free });
  }
  return wishes;
}

/** What wishes are brought about with. */
export interface IoParts {
  leases: Leases;
  wishes(): IoWish[];
}

/** Looks after them this often. */
const everyMs = 10_000;

/** The io controller's knobs, taken as leases while memory is managed. */
export class IoShares {
  readonly #parts: IoParts;
  #shares: IoShare[] = [];
  #appliedMs = Number.NEGATIVE_INFINITY;
  /** Until when a knob that somebody else has set is left alone. */
  readonly #theirs = new Map<string, number>();

  constructor(parts: IoParts) {
    this.#parts = parts;
  }

  /** What became of each wish; nothing before the first turn. */
  get shares(): readonly IoShare[] {
    return this.#shares;
  }

  /** Sets what is not as it is to be, when it is time to look. */
  async apply(atMs: number): Promise<void> {
    if (atMs - this.#appliedMs < everyMs) return;
    this.#appliedMs = atMs;
    const shares: IoShare[] = [];
    for (const wish of this.#parts.wishes()) shares.push(await this.#one(wish, atMs));
    this.#shares = shares;
  }

  /** Everything has been given back. */
  forget(): void {
    this.#shares = [];
    this.#appliedMs = Number.NEGATIVE_INFINITY;
  }

  async #one(wish: IoWish, atMs: number): Promise<IoShare> {
    const { value, free, ...place } = wish;
    const key = leaseKey(place);
    if ((this.#theirs.get(key) ?? Number.NEGATIVE_INFINITY) > atMs)
      return { wish, state: 'foreign' };
    const written = await this.#parts.leases.set(place, value, free);
    if (written.state === 'foreign') {
      this.#theirs.set(key, atMs + leaveAloneMs);
      return { wish, state: 'foreign', detail: written.found };
    }
    if (written.state === 'refused') return { wish, state: 'refused', detail: written.reason };
    // What is ours already stands as it was written.
    const ours = written.state === 'unchanged' && this.#parts.leases.find(place) !== undefined;
    return { wish, state: ours ? 'written' : written.state };
  }
}
