import { statSync } from 'node:fs';
import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import { bootId, boottimeMs } from '../kernel/clock.ts';
import { FROZEN_MS_MAX, letGo } from '../kernel/freezer.ts';
import type { ProcessId } from '../kernel/processes.ts';
import { deviceOf } from '../kernel/walked.ts';
import type { Store } from '../store/store.ts';
import {
  areIn,
  freezableOf,
  freezeOf,
  isPopulated,
  isThere,
  type ProgramGroup,
  runningIn,
  straysOf,
} from './program-groups.ts';
import { BYTES_MAX, RoomLeft } from './room-left.ts';
import { deleteServed, putServed, type Served } from './served-rows.ts';
import type { StopNotes } from './stop-notes.ts';
import { deadlines, type Running, sync } from './sync.ts';
import type { Task } from './talk.ts';
import { WriterChild } from './writer-child.ts';

/** Whose folders lie in memory, and why. */
export type Wanted = Omit<Served, 'boot' | 'sinceMs' | 'programs'>;

/** What sessions stand on. */
export interface SessionParts {
  store: Store;
  log: Log;
  now(): number;
  /** Milliseconds of a clock that is never set; that of the machine unless given. */
  elapsedMs?(): number;
  /** Makes a partition in memory for the user, and says where it is. */
  makePartition(one: Wanted, bytes: number): Promise<string>;
  /** Gives it this size while it is in use. Throws why that cannot be. */
  growPartition(one: Wanted, bytes: number): Promise<void>;
  /** Where the partition is, if it holds what it held at `sinceMs`. */
  partitionOf(one: Served): Promise<string | undefined>;
  /** Removes it, if it is there. */
  removePartition(one: Wanted): Promise<void>;
  /** Where it is written down who may be stopped, for whoever comes after a kill. */
  stops?: Pick<StopNotes, 'write'>;
  /** An instance of the application works on the disk. */
  isOnDisk?(one: Wanted): boolean;
}

/** `ending`: what a crash or the last instance has left is being brought to the disk. */
export type SessionState = 'filling' | 'filled' | 'serving' | 'ending' | 'gone';

/** A copy while the program stands still takes room beside what it copies; and every name takes some. */
const ROOM = { times: 2, perName: 16_384, bytes: 64 << 20 };
/** A launch cannot wait until so much has been read. */
const LARGE = { names: 2_000, bytes: 64 << 20 };
/** What is written is on the disk after this time. */
export const SYNC_EVERY_MS = 25_000;
/** What failed is tried again after this time. */
const AGAIN_MS = 30_000;

const textOf = (error: unknown): string => String((error as Error)?.message ?? error);

/** The folders of one application of one user in memory, from before its first instance starts until everything is on the disk again. */
export class Session {
  readonly wanted: Wanted;
  /** What the last launch that came into it wanted: its folders may be others by then. */
  latest: Wanted;
  state: SessionState = 'filling';
  /** Why it is not as it is to be. */
  problem: string | undefined;
  /** The moment that the disk has; what was written later is in memory only. */
  takenMs: number;
  /** Files that others had changed on the disk meanwhile, which were put aside. */
  kept = 0;
  /** Its folders are to be in memory before a launch asks for them. */
  isLarge = false;
  readonly #parts: SessionParts;
  #served: Served;
  #memory: string | undefined;
  /** It is known whether memory is there. Before that nothing ends: what is there would be removed unsaved. */
  #isTakenUp = true;
  readonly #room: RoomLeft;
  #writer: WriterChild | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** When it last came to the disk, or from there, and when that has failed: of the clock that is never set. */
  #savedMs: number;
  #triedMs = 0;
  #expected = 0;
  /** Instances that began in memory. While there was none, what is there is no more than the disk had. */
  #begun: number;
  /** What was last seen to work in memory from outside the groups of its instances. */
  #strays: readonly ProcessId[] = [];

  constructor(parts: SessionParts, wanted: Wanted, earlier?: Served) {
    this.#parts = parts;
    this.wanted = wanted;
    this.latest = wanted;
    this.takenMs = parts.now();
    this.#savedMs = this.#elapsedMs();
    this.#room = new RoomLeft(
      (bytes) => parts.growPartition(wanted, bytes),
      () => this.#elapsedMs(),
    );
    this.#begun = earlier === undefined ? 0 : 1;
    this.#served = earlier ?? {
      ...wanted,
      boot: bootId(),
      sinceMs: parts.now(),
      programs: [],
    };
  }

  /** What the program is to see in place of its folders. */
  get binds(): { from: string; to: string }[] {
    return this.wanted.folders.map((path, index) => ({
      from: `${this.#memory}/${index}/data`,
      to: `${this.wanted.home}/${Buffer.from(path, 'latin1').toString()}`,
    }));
  }

  #elapsedMs(): number {
    return this.#parts.elapsedMs?.() ?? boottimeMs();
  }

  /** How long nothing was written back. */
  get unsavedMs(): number {
    return this.#elapsedMs() - this.#savedMs;
  }

  get #groups(): ProgramGroup[] {
    return this.#served.programs.filter(isPopulated);
  }

  /** Groups in which it runs; what has left them counts as one. */
  get instances(): number {
    return this.#groups.length + (this.#strays.some(isThere) ? 1 : 0);
  }

  /** Why its programs may soon be told that their disk is full, or undefined. */
  get shortage(): string | undefined {
    try {
      return this.#memory === undefined ? undefined : this.#room.told(this.#memory);
    } catch {
      return undefined; // somebody has taken it away: the next write-back says so
    }
  }

  get #device(): string {
    const { dev } = statSync(this.#memory ?? '', { bigint: true });
    return deviceOf(dev).join(':');
  }

  /** Sees to it that its programs have room: it waits for no write-back, and holds up none. */
  async keepRoom(): Promise<void> {
    if (this.state === 'serving' && this.#memory !== undefined) await this.#room.keep(this.#memory);
  }

  /** Nobody works in memory any more, in whatever group. */
  async #isOver(): Promise<boolean> {
    const { programs } = this.#served;
    if (this.instances > 0) return false;
    try {
      this.#strays = await straysOf([], this.#device, this.wanted.owner);
    } catch (error) {
      this.#failed(error);
      throw error;
    }
    // One may have begun in that time.
    return this.#strays.length === 0 && this.#served.programs === programs;
  }

  get #task(): Task {
    const { owner: uid, gid, groups, home, folders } = this.wanted;
    return {
      caller: { uid, gid, groups },
      home,
      folders: folders.map((path) => ({ path })),
      frozenMsMax: FROZEN_MS_MAX,
    };
  }

  /** One step after the other. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  /** Brings what a crash may have left into the folders, and fills memory with them. Throws why it cannot be had. */
  fill(): Promise<void> {
    return this.#next(async () => {
      try {
        this.#writer = await WriterChild.start(this.#task);
        await this.#recover(this.#writer);
        const { names, bytes } = await this.#writer.ask(
          { do: 'measure' },
          'measured',
          deadlines.openMs,
        );
        this.isLarge = names > LARGE.names || bytes > LARGE.bytes;
        const room = bytes * ROOM.times + names * ROOM.perName + ROOM.bytes;
        if (room > BYTES_MAX) throw new Error(`its folders hold ${formatSize(bytes)}: too much`);
        this.#memory = await this.#parts.makePartition(this.wanted, room);
        await this.#open(this.#writer, true);
        this.state = 'filled';
      } catch (error) {
        await this.#leave();
        throw error;
      }
    });
  }

  async #open(writer: WriterChild, fill: boolean): Promise<void> {
    const memory = this.#memory ?? '';
    await writer.ask({ do: 'open', memory, fill }, 'opened', deadlines.openMs);
  }

  /** Brings the last generation into the folders. */
  async #recover(writer: WriterChild): Promise<void> {
    const ask = { do: 'finish' as const, ...(this.#memory && { memory: this.#memory }) };
    const { kept } = await writer.ask(ask, 'finished', deadlines.finishMs);
    this.kept += kept;
  }

  /** True when the folders on the disk are still what memory was filled with. */
  async isFresh(): Promise<boolean> {
    const writer = this.#writer;
    if (this.state !== 'filled' || writer === undefined) return false;
    const { same } = await this.#next(() =>
      writer.ask({ do: 'verify' }, 'verified', deadlines.copyMs),
    );
    return same === 1;
  }

  /** An instance is about to start: until `serve` or `decline` nothing ends. */
  expect(): void {
    this.#expected += 1;
  }

  /** The instance that was expected starts otherwise. */
  decline(): void {
    this.#expected -= 1;
  }

  /**
   * The instance that was expected begins to work in memory: from now on a crash finds what is to be brought back. It waits for no
   * write-back that runs: nothing ends while an instance is expected.
   */
  async serve(group: ProgramGroup): Promise<void> {
    try {
      const others = this.#served.programs.filter(({ folder }) => folder !== group.folder);
      const programs = [...others.filter(isPopulated), group];
      this.#served = { ...this.#served, programs };
      this.#begun += 1;
      await this.#parts.store.commit((tx) => putServed(tx, this.#served));
      if (this.state === 'filled') {
        this.takenMs = this.#parts.now();
        this.#savedMs = this.#elapsedMs();
      }
      this.state = 'serving';
    } finally {
      this.decline();
    }
  }

  /** A writer that knows what memory has. After one that has ended, another one compares that with the disk. */
  async #writing(): Promise<WriterChild> {
    if (this.#writer !== undefined && !this.#writer.hasEnded) return this.#writer;
    const writer = await WriterChild.start(this.#task);
    try {
      await this.#open(writer, false);
    } catch (error) {
      // It knows some folders at most.
      await writer.end();
      throw error;
    }
    this.#writer = writer;
    return writer;
  }

  /** What runs now, which the writer may stop then. */
  async #running(writer: WriterChild, isAsking: boolean): Promise<Running> {
    const { programs } = this.#served;
    const groups = this.#groups;
    const device = this.#device;
    this.#strays = await straysOf(groups, device, this.wanted.owner);
    // Groups of others are not stopped, nor is who waits for the answer.
    const stops = this.#strays.length > 0 || isAsking ? undefined : freezeOf(groups);
    this.#noteStops(stops === undefined ? [] : groups);
    await writer.mayStop(stops ?? []);
    return {
      ...runningIn(groups, this.#strays, device, stops !== undefined),
      ...(isAsking && { spared: 'as this is asked for from within it: it will be, within 30 s' }),
      hasGrown: () => this.#served.programs !== programs,
    };
  }

  #noteStops(groups: readonly ProgramGroup[]): void {
    try {
      this.#parts.stops?.write(this.wanted.name, groups);
    } catch {
      // No room in the run tree: that the bytes come to the disk counts for more, and the next daemon knows the groups, too.
    }
  }

  /** @param isRegular the next regular try is put off by it. */
  #failed(error: unknown, isRegular = true): void {
    this.problem = textOf(error);
    if (isRegular) this.#triedMs = this.#elapsedMs();
    const { app, owner } = this.wanted;
    this.#parts.log.warn({ app, owner, problem: this.problem }, 'cannot write back, trying again');
  }

  /** Takes up what an earlier daemon has left, or what a boot has. What fails is tried again by `tick`. */
  resume(): Promise<void> {
    this.state = 'ending';
    this.#isTakenUp = false;
    return this.#takeUp();
  }

  #takeUp(): Promise<void> {
    return this.#next(async () => {
      if (this.#isTakenUp) return;
      try {
        // Whoever was writing back may have been killed while they stood still, and one that cannot be stopped may have begun in that moment.
        letGo(freezableOf(this.#groups));
        const memory = await this.#parts.partitionOf(this.#served);
        this.#memory = memory;
        this.#isTakenUp = true;
        this.problem = undefined;
        if (memory !== undefined) this.state = 'serving';
        if (memory === undefined) await this.#end();
        else await this.#writing();
      } catch (error) {
        this.#failed(error);
      }
    });
  }

  /**
   * An instance that was to work in memory works on the disk. What it writes there is not in memory: where no other one has worked there, the
   * next one finds it out as if this had never begun.
   * @param group its own; absent: others are in it too
   */
  async withdraw(group?: ProgramGroup): Promise<void> {
    const programs = this.#served.programs.filter(({ folder }) => folder !== group?.folder);
    this.#served = { ...this.#served, programs };
    this.#begun -= 1;
    if (this.state !== 'serving') return;
    if (this.#begun === 0) this.state = 'filled';
    const { state } = this;
    await this.#parts.store.commit((tx) => {
      if (state === 'filled') deleteServed(tx, this.wanted.name);
      else putServed(tx, this.#served);
    });
  }

  /**
   * Writes back now what is in memory only. Throws why that cannot be.
   * @param askers whoever waits for it, and all that started that: its terminal, say. Where they are in its groups nobody is stopped.
   */
  syncNow(askers: readonly number[] = []): Promise<void> {
    return this.#next(async () => {
      if (this.state === 'serving') await this.#sync(askers);
    });
  }

  async #sync(askers: readonly number[] = []): Promise<void> {
    const isAsking = areIn(this.#groups, askers);
    try {
      const writer = await this.#writing();
      const begunMs = this.#elapsedMs();
      const { takenMs } = await sync(
        writer,
        () => this.#running(writer, isAsking),
        this.#parts.now,
      );
      this.takenMs = takenMs;
      this.#savedMs = begunMs;
      this.problem = undefined;
    } catch (error) {
      this.#failed(error, !isAsking);
      throw error;
    }
  }

  /** Does what is due: a write-back, or, after the last instance, the end. */
  async tick(): Promise<void> {
    if (this.state === 'ending' || this.state === 'serving') {
      if (this.problem !== undefined && this.#elapsedMs() - this.#triedMs < AGAIN_MS) return;
      if (!this.#isTakenUp) return await this.#takeUp();
      const isOver = this.state === 'ending' || (await this.#isOver().catch(() => true));
      if (isOver) await this.finish().catch(() => undefined);
      else if (this.unsavedMs >= SYNC_EVERY_MS) await this.syncNow().catch(() => undefined);
    }
  }

  /** Brings everything to the disk, unless an instance has begun meanwhile. */
  finish(): Promise<void> {
    return this.#next(async () => {
      const isOver = this.state === 'serving' ? await this.#isOver() : this.instances === 0;
      const isDue = isOver && this.#isTakenUp && this.state !== 'gone';
      if (!isDue || this.#expected > 0) return;
      if (this.state === 'serving') {
        this.state = 'ending';
        try {
          await this.#sync();
        } catch (error) {
          // Memory has everything: an instance may go on in it.
          this.state = 'serving';
          throw error;
        }
        // Whoever was not seen before writes on: memory goes only when nobody is seen again.
        if (!(await this.#isOver().catch(() => false))) {
          this.state = 'serving';
          return;
        }
      }
      try {
        await this.#end();
      } catch (error) {
        this.#failed(error);
        throw error;
      }
    });
  }

  async #end(): Promise<void> {
    if (this.#writer === undefined || this.#writer.hasEnded)
      this.#writer = await WriterChild.start(this.#task);
    await this.#recover(this.#writer);
    await this.#parts.store.commit((tx) => deleteServed(tx, this.wanted.name));
    this.problem = undefined;
    await this.#leave();
  }

  /** Nothing of it is in memory only any more. A partition that cannot be removed is told, and removed before it is made anew. */
  async #leave(): Promise<void> {
    this.state = 'gone';
    await this.#writer?.end();
    this.#noteStops([]);
    this.#writer = undefined;
    try {
      await this.#parts.removePartition(this.wanted);
    } catch (error) {
      const { app, owner } = this.wanted;
      const problem = textOf(error);
      this.#parts.log.warn({ app, owner, problem }, 'cannot remove its memory, trying when needed');
    }
  }

  /** Gives up memory that no instance has used. False when one is about to. */
  discard(): Promise<boolean> {
    return this.#next(async () => {
      if (this.state === 'filled' && this.#expected === 0) await this.#leave();
      return this.state === 'gone';
    });
  }

  /** The daemon stops: what is in memory is written back, and stays there for the next one. */
  async close(): Promise<void> {
    if (this.state === 'filled') await this.discard();
    if (this.state === 'serving') {
      // Whether somebody still works there may not be told: it is written back all the same.
      if (await this.#isOver().catch(() => false)) await this.finish().catch(() => undefined);
      else await this.syncNow().catch(() => undefined);
    }
    await this.#next(async () => {
      await this.#writer?.end();
      this.#noteStops([]);
    });
  }
}
