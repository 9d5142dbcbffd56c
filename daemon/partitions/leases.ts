import { setTimeout as pause } from 'node:timers/promises';
import { failedWith } from '../kernel/errno.ts';
import type { HeldGroup } from '../kernel/held-group.ts';
import { sameValue, textFor, valueIn } from './knob-text.ts';
import { isOurs, isTheirs, type Lease, leaseKey } from './lease.ts';
import type { LeaseBook } from './lease-book.ts';
import type { LeaseGround } from './lease-ground.ts';
import type { LeaseGuard } from './lease-guard.ts';

/** One knob of one group. */
export interface KnobPlace {
  root: string;
  version: 1 | 2;
  controller: 'memory' | 'io';
  group: string;
  knob: string;
  /** The device, where the knob's file has a line for each. */
  device?: string;
}

/** What became of a wish. */
export type Written =
  | { state: 'written'; value: string }
  | { state: 'unchanged' }
  /** Another program has written there since: the knob is theirs. */
  | { state: 'foreign'; found: string }
  /** The write has not returned yet, or systemd, without which there is no such knob, cannot be told yet. */
  | { state: 'blocked' }
  | { state: 'refused'; reason: string };

/** What became of a lease that was to end. */
export interface Returned {
  lease: Lease;
  /** `failed`: the lease is kept, and tried again. */
  state: 'restored' | 'gone' | 'changed-since' | 'failed';
  /** What was found there instead, or why it failed. */
  detail?: string;
}

/** How leases are written. */
export interface LeaseParts {
  book: LeaseBook;
  ground: LeaseGround;
  boot: string;
  /** Milliseconds since boot. */
  now(): number;
  deadlineMs?: number;
  /** Absent: somebody else looks after what is left when this process is killed. */
  guard?: LeaseGuard | undefined;
}

/** A write that takes longer reclaims as fast as it can: it goes on, and nobody waits for it. */
const writeDeadlineMs = 2_000;
/** systemd answers before it has written. */
const readBackMs = 1_000;
const readBackEveryMs = 20;

/** What a knob of a held group has now. Undefined: there is no such knob. */
function readOf(held: HeldGroup, place: Pick<KnobPlace, 'knob' | 'device'>): string | undefined {
  const text = held.read(place.knob);
  return text === undefined ? undefined : valueIn(text, place);
}

const mustWaitText =
  'systemd cannot be told yet: the unit is above its limit, or systemd has not taken the limit';

/** The limit among the knobs of units. */
const limitKnob = 'memory.high';

/** The group uses more memory than its limit: the kernel takes away within whatever writes that again. */
function isAboveLimit(held: HeldGroup): boolean {
  const [used, limit] = [held.read('memory.current'), held.read(limitKnob)];
  return Number(used) > Number(limit);
}

/** The knobs that are ours. Every call takes its turn: a knob has one writer. */
export class Leases {
  readonly #parts: LeaseParts;
  #tail: Promise<unknown> = Promise.resolve();
  /** Writes that were given up and still run: one that comes late would undo what was written after it. */
  readonly #late = new Map<string, Promise<void>>();
  /** What knobs were written last, and systemd does not know yet: our value, or the one of before us. */
  readonly #untold = new Map<string, string>();

  constructor(parts: LeaseParts) {
    this.#parts = parts;
  }

  all(): Lease[] {
    return this.#parts.book.all();
  }

  /** What was wrong with what the daemon before has left, or undefined. */
  get problem(): string | undefined {
    return this.#parts.book.problem;
  }

  /** Why leases would outlive a daemon that is killed, or undefined. */
  get unguarded(): string | undefined {
    return this.#parts.guard?.problem;
  }

  /**
   * Gives a knob this value: the lease first, then the knob, then what it reads. With `free` a knob that is not ours is
   * taken only while it has that value.
   */
  set(knob: KnobPlace, value: string, free?: string): Promise<Written> {
    return this.#turn(() => this.#set(knob, value, free));
  }

  /** The lease of a knob, if it is ours. */
  find(knob: KnobPlace): Lease | undefined {
    return this.#parts.book.find(leaseKey(knob));
  }

  /** Gives back everything. Never throws: what fails is said, and kept for the next attempt. */
  releaseAll(): Promise<Returned[]> {
    return this.#turn(async () => {
      const done: Returned[] = [];
      for (const lease of this.#limitsFirst()) done.push(await this.#giveBack(lease));
      if (this.all().length === 0) await this.#parts.guard?.callOff();
      return done;
    });
  }

  /** Ends the leases whose knob has another value by now, or whose group has gone: they are not ours to restore. */
  check(): Promise<Returned[]> {
    return this.#turn(async () => {
      const lost: Returned[] = [];
      for (const lease of this.#limitsFirst()) {
        const found = this.#found(lease);
        // With the group gone, or with another value, giving it back writes nothing but what systemd keeps.
        if (found === undefined || !isOurs(lease, found)) lost.push(await this.#giveBack(lease));
      }
      return lost;
    });
  }

  /** Tells systemd of the knobs that it could not be told of when they were written. Never throws: it is tried again. */
  async tellManager(): Promise<void> {
    if (this.#untold.size > 0) await this.#turn(() => this.#tellUntold());
  }

  /** With any property systemd writes the limit that it knows, and that is ours until it is told. */
  #limitsFirst(): Lease[] {
    const rank = ({ knob }: Lease) => (knob === limitKnob ? 0 : 1);
    return this.all().toSorted((one, other) => rank(one) - rank(other));
  }

  /** What another program has set. */
  #theirs(lease: Lease): string | undefined {
    const found = this.#found(lease);
    return found !== undefined && isTheirs(lease, found) ? found : undefined;
  }

  /** Throws what it fails with for this knob; of the others it is told again later. */
  async #tellUntold(mine?: string): Promise<void> {
    // Looked at before it writes those that it does not know back, over what others have set, too.
    const looks = this.#limitsFirst().map((lease) => ({ lease, theirs: this.#theirs(lease) }));
    for (const { lease, theirs } of looks) {
      const key = leaseKey(lease);
      const value = this.#untold.get(key);
      const held = this.#hold(lease);
      if (held === undefined) continue;
      try {
        if (theirs !== undefined) await this.#leave(lease, held, theirs);
        else if (value !== undefined) await this.#tell(lease, held, value);
      } catch (error) {
        if (key === mine) throw error;
      } finally {
        held.close();
      }
    }
  }

  /** In the book, and known to the guard, before a knob is written. */
  async #keep(lease: Lease): Promise<void> {
    await this.#parts.book.put(lease);
    await this.#parts.guard?.know(this.all());
  }

  /** What has come of a lease since it was taken, beside what is in the book by now. */
  async #note(lease: Lease, news: Pick<Lease, 'read'> | Pick<Lease, 'told'>): Promise<void> {
    await this.#keep({ ...(this.#parts.book.find(leaseKey(lease)) ?? lease), ...news });
  }

  async #drop(lease: Lease): Promise<void> {
    await this.#parts.book.drop(lease);
    this.#untold.delete(leaseKey(lease));
    await this.#parts.guard?.know(this.all());
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(work);
    this.#tail = mine.catch(() => undefined);
    return mine;
  }

  /** The group of a lease while it is the very one. */
  #hold({ root, group, inode, boot }: Lease): HeldGroup | undefined {
    if (boot !== this.#parts.boot) return undefined;
    const held = this.#parts.ground.hold(root, group);
    if (held === undefined || held.id === inode) return held;
    held.close();
    return undefined;
  }

  /** What the knob of a lease has now. Undefined: it has gone, or its group. */
  #found(lease: Lease): string | undefined {
    const held = this.#hold(lease);
    const found = held && readOf(held, lease);
    held?.close();
    return found;
  }

  async #set(knob: KnobPlace, value: string, free?: string): Promise<Written> {
    const { book } = this.#parts;
    const held = this.#parts.ground.hold(knob.root, knob.group);
    if (held === undefined) return { state: 'refused', reason: `there is no group ${knob.group}` };
    try {
      const read = readOf(held, knob);
      const now = read ?? this.#turnedOn(knob, free);
      if (now === undefined)
        return { state: 'refused', reason: `the group ${knob.group} has no ${knob.knob}` };
      if (read === undefined && this.#mustWait(knob, held)) return { state: 'blocked' };
      const known = book.find(leaseKey(knob));
      const before =
        known?.inode === held.id && known.boot === this.#parts.boot ? known : undefined;
      if (before !== undefined && !isOurs(before, now)) {
        // What an earlier write leaves is known only when it has returned.
        if (this.#late.has(leaseKey(knob))) return { state: 'blocked' };
        // With the old value it is nobody else's: it is written again.
        if (this.#theirs(before) !== undefined) {
          const { state, detail = '' } = await this.#giveBack(before);
          if (state === 'failed') return { state: 'refused', reason: detail };
          if (state === 'changed-since') return { state: 'foreign', found: now };
          return await this.#set(knob, value, free);
        }
      }
      if (before !== undefined && sameValue(value, before.old, knob))
        return await this.#end(before);
      if (sameValue(now, value, knob)) return { state: 'unchanged' };
      if (before === undefined && free !== undefined && !sameValue(now, free, knob))
        return { state: 'foreign', found: now };
      const lease = before ? { ...before, wanted: value } : this.#leaseOf(knob, held, now, value);
      await this.#parts.guard?.watch();
      await this.#keep(lease);
      return await this.#write(lease, held, value);
    } finally {
      held.close();
    }
  }

  /** systemd turns a controller on for a group with the first property of it: the knob then starts as `free`. */
  #turnedOn({ group, knob }: KnobPlace, free: string | undefined): string | undefined {
    return this.#parts.ground.units?.find(group, knob) === undefined ? undefined : free;
  }

  /** The value of before us is wanted: then the knob is not ours any more. */
  async #end(lease: Lease): Promise<Written> {
    const { state, detail } = await this.#giveBack(lease);
    // The knob may have it though systemd cannot be told yet: that is tried again, as with every value.
    const late = this.#late.has(leaseKey(lease));
    const found = state === 'failed' && !late ? this.#found(lease) : undefined;
    const back = found !== undefined && sameValue(found, lease.old, lease);
    if (state === 'restored' || back) return { state: 'written', value: lease.old };
    return { state: 'refused', reason: detail ?? `the group ${lease.group} has gone` };
  }

  #leaseOf(knob: KnobPlace, held: HeldGroup, old: string, wanted: string): Lease {
    const { units } = this.#parts.ground;
    const unit = units?.find(knob.group, knob.knob);
    return {
      ...knob,
      inode: held.id,
      boot: this.#parts.boot,
      old,
      wanted,
      sinceMs: this.#parts.now(),
      ...(unit !== undefined && {
        unit,
        dropInBefore: units?.kept(unit, knob.knob) !== undefined,
      }),
    };
  }

  async #write(lease: Lease, held: HeldGroup, value: string): Promise<Written> {
    let failure: unknown;
    try {
      await this.#put(lease, held, value);
    } catch (error) {
      failure = error;
    }
    const read = readOf(held, lease);
    if (failedWith(failure, 'ETIMEDOUT')) {
      this.#remember(leaseKey(lease), held);
      return { state: 'blocked' };
    }
    if (read !== undefined && sameValue(read, value, lease)) {
      await this.#note(lease, { read });
      return { state: 'written', value: read };
    }
    // Nothing of ours is there, and neither is a lease; but systemd may have been asked, and be late.
    if (read === undefined || (lease.read === undefined && sameValue(read, lease.old, lease)))
      await this.#giveBack(lease);
    const reason = failure instanceof Error ? failure.message : `it reads ${read ?? 'nothing'} now`;
    return {
      state: 'refused',
      reason: `${lease.group}/${lease.knob} did not take ${value}: ${reason}`,
    };
  }

  #remember(key: string, held: HeldGroup): void {
    const late = held.settled().then(() => {
      if (this.#late.get(key) === late) this.#late.delete(key);
    });
    this.#late.set(key, late);
  }

  /** Waits for a write of this knob that was given up. False: it still runs. */
  async #outlasted(key: string): Promise<boolean> {
    if (!this.#late.has(key)) return true;
    const limit = new AbortController();
    const { signal } = limit;
    const passed = pause(this.#parts.deadlineMs ?? writeDeadlineMs, undefined, { signal });
    await Promise.race([this.#late.get(key), passed.catch(() => undefined)]);
    limit.abort();
    return !this.#late.has(key);
  }

  /** Of a unit's knob systemd is told as well, later if it must be: lowering a limit takes away within the write. */
  async #put(lease: Lease, held: HeldGroup, value: string): Promise<void> {
    const { unit, knob } = lease;
    const { ground, deadlineMs = writeDeadlineMs } = this.#parts;
    const managed = unit !== undefined && ground.units !== undefined;
    const key = leaseKey(lease);
    if (managed) this.#untold.set(key, value);
    if (!managed || readOf(held, lease) !== undefined)
      await held.write(knob, textFor(value, lease), deadlineMs);
    // With this property it writes those that it does not know back, too.
    if (managed) await this.#tellUntold(key);
  }

  /**
   * systemd writes all limits of a unit at once, and PID 1 would serve nobody until the kernel has taken the rest away. Not
   * while the unit is above a limit of ours, nor before it knows of that limit; the limit of another program it writes anyway.
   */
  #mustWait({ root, group, knob }: KnobPlace, held: HeldGroup): boolean {
    const limit = this.#parts.book.find(leaseKey({ root, group, knob: limitKnob }));
    if (limit?.inode !== held.id) return false;
    return isAboveLimit(held) || (knob !== limitKnob && this.#untold.has(leaseKey(limit)));
  }

  /** Makes the value the unit's property, unless that must wait, and waits until the kernel has it. */
  async #tell(lease: Lease, held: HeldGroup, value: string): Promise<void> {
    const { unit, knob } = lease;
    const { units } = this.#parts.ground;
    if (unit === undefined || units === undefined || this.#mustWait(lease, held)) return;
    const absent = readOf(held, lease) === undefined;
    await units.set(unit, knob, value);
    // What it has of before us is nothing of ours.
    if (value !== lease.old) await this.#note(lease, { told: value });
    this.#untold.delete(leaseKey(lease));
    const end = performance.now() + readBackMs;
    const set = (read = readOf(held, lease)) =>
      read === undefined ? !absent : sameValue(read, value, lease);
    while (performance.now() < end && !set()) await pause(readBackEveryMs);
  }

  /** Writes the old value. What stands there instead, when another program has set it. Throws when it does not hold. */
  async #writeBack(lease: Lease, held: HeldGroup): Promise<string | undefined> {
    const key = leaseKey(lease);
    for (;;) {
      const pending = this.#late.has(key);
      const now = readOf(held, lease);
      const back = now === undefined || sameValue(now, lease.old, lease);
      // The guard of a daemon that was killed has written the knob, and systemd does not know.
      const put = back ? lease.unit !== undefined : isOurs(lease, now);
      if (put) await this.#put(lease, held, lease.old);
      else if (!back && !pending) return now;
      if (!pending) break;
      // It may undo that, and what it leaves is known only when it has returned.
      if (!(await this.#outlasted(key))) throw new Error('an earlier write has not returned yet');
    }
    const read = readOf(held, lease);
    if (read !== undefined && !sameValue(read, lease.old, lease))
      throw new Error(`it reads ${read} after ${lease.old}`);
    return undefined;
  }

  async #giveBack(lease: Lease): Promise<Returned> {
    const held = this.#hold(lease);
    try {
      if (held === undefined || readOf(held, lease) === undefined) {
        if (lease.boot === this.#parts.boot) await this.#forget(lease);
        await this.#drop(lease);
        return { lease, state: 'gone' };
      }
      const other = await this.#writeBack(lease, held);
      if (other !== undefined) {
        await this.#leave(lease, held, other);
        await this.#drop(lease);
        return { lease, state: 'changed-since', detail: other };
      }
      if (this.#untold.has(leaseKey(lease))) throw new Error(mustWaitText);
      this.#removeDropIn(lease);
      await this.#drop(lease);
      return { lease, state: 'restored' };
    } catch (error) {
      return {
        lease,
        state: 'failed',
        detail: error instanceof Error ? error.message : `${error}`,
      };
    } finally {
      held?.close();
    }
  }

  /**
   * The knob is another program's. What systemd keeps of ours would come back with the unit's next property; it hears what they have
   * set, so that it never writes anything else, however late it is.
   */
  async #leave(lease: Lease, held: HeldGroup, other: string): Promise<void> {
    const { unit, knob } = lease;
    const { units } = this.#parts.ground;
    const kept = unit && units?.kept(unit, knob);
    if (unit === undefined || kept === undefined || !isOurs(lease, kept)) return;
    // What an earlier write leaves is known only when it has returned.
    if (this.#late.has(leaseKey(lease))) return;
    if (this.#mustWait(lease, held)) throw new Error(mustWaitText);
    await units?.set(unit, knob, other);
    this.#removeDropIn(lease);
  }

  /** The unit's group has ended, but systemd would give our value to its next one. */
  async #forget(lease: Lease): Promise<void> {
    const { units } = this.#parts.ground;
    if (lease.unit === undefined || units === undefined) return;
    // A unit that systemd has forgotten has no properties either.
    await units.set(lease.unit, lease.knob, lease.old).catch(() => undefined);
    this.#removeDropIn(lease);
  }

  #removeDropIn({ unit, knob, dropInBefore }: Lease): void {
    if (unit !== undefined && dropInBefore !== true) this.#parts.ground.units?.forget(unit, knob);
  }
}
