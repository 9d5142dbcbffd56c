import { join } from 'node:path';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import type { Settings } from '../config/settings.ts';
import { bootId } from '../kernel/clock.ts';
import { type Speed, speedOf } from '../kernel/disk-speed.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import type { Store } from '../store/store.ts';
import { findPartition, putPartition, readPartitions } from './fast-rows.ts';
import type { Medium } from './medium.ts';
import { type FastVolumes, nvmeIn, removeStrays } from './nvme.ts';
import type { FastPartition, MediumName, Opened } from './partition.ts';
import { FastPlace, notShown } from './place.ts';
import { type Claim, checkCount, checkDisk, checkMemory, type MemoryNow } from './quota.ts';
import { ram, tooSmallFor } from './ram.ts';
import { zram } from './zram.ts';

/** What the room is opened with. */
export interface FastParts {
  paths: Pick<Paths, 'run' | 'state'>;
  settings: Settings['values'];
  store: Store;
  log: Log;
  /** Memory at this moment, as the room of memory shares knows it. */
  memory(): Promise<MemoryNow>;
  /** Throws `no-space` when so much would leave less of the disk than is kept free. */
  space: { check(bytes: number): Promise<void> };
  volumes: FastVolumes;
  /** How fast the file system at a folder is; tests have their own figures. */
  speedOf?: (folder: string) => Promise<Speed>;
  /** The user a uid counts to: a subordinate id counts to the user it was given to. */
  accountOf(uid: number): number;
  now(): number;
}

/** A fast partition with how full it is. */
export interface FastView extends FastPartition {
  path: string;
  usedBytes: number;
  /** Memory that it takes now. */
  memoryBytes: number;
  /** It is there. */
  shown: boolean;
  /** Why it is not, or what it lacks. */
  problem?: string;
}

/** The room of fast partitions. */
export class FastRoom {
  readonly place: FastPlace;
  readonly now: () => number;
  readonly speedOf: (folder: string) => Promise<Speed>;
  /** Where the state tree's disk is measured. */
  readonly diskFolder: string;
  readonly #parts: FastParts;
  readonly #media: Record<MediumName, Medium>;
  readonly #problems = new Map<string, string>();

  constructor(parts: FastParts) {
    this.#parts = parts;
    this.now = parts.now;
    this.speedOf = parts.speedOf ?? speedOf;
    const { run, state } = parts.paths;
    this.diskFolder = join(state, statePlaces.fast);
    this.#media = { ram, zram, nvme: nvmeIn(this.diskFolder, parts.volumes) };
    this.place = new FastPlace(join(run, runPlaces.fast));
  }

  medium({ medium }: Pick<FastPartition, 'medium'>): Medium {
    return this.#media[medium];
  }

  /** The partition of this name. Throws `fast-not-found`. */
  async partition(name: string): Promise<FastPartition> {
    const found = await this.find(name);
    if (found === undefined) throw new PersonaError('fast-not-found', { name });
    return found;
  }

  find(name: string): Promise<FastPartition | undefined> {
    return findPartition(this.#parts.store, name);
  }

  /**
   * Throws when the machine has no such ground, or the partition is too small for it or too much: for its owner, for all users together, or for
   * a side of the machine's memory. What takes no more than it was granted is not asked for again.
   */
  async admit(partition: FastPartition): Promise<void> {
    const { store, settings, accountOf, memory } = this.#parts;
    checkMedium(this.medium(partition), partition);
    const known = await readPartitions(store);
    const others = known.filter(({ id }) => id !== partition.id);
    const granted = known.find(({ id }) => id === partition.id);
    if (granted !== undefined && partition.bytes <= granted.bytes) return;
    const claim = (one: FastPartition): Claim => {
      const { takesMemory, countsAs } = this.medium(one);
      const { owner, bytes } = one;
      const memoryBytes = takesMemory ? bytes : 0;
      return { account: accountOf(owner), bytes: Math.ceil(bytes * countsAs), memoryBytes };
    };
    const wanted = claim(partition);
    checkCount(wanted, others.map(claim));
    const inMemory = this.medium(partition).takesMemory;
    const alike = others.filter((one) => this.medium(one).takesMemory === inMemory).map(claim);
    if (!inMemory) {
      checkDisk(wanted, alike, {
        allBytes: settings['fast.disk_max'],
        ownerBytes: settings['fast.owner_disk'],
      });
      if (!this.place.mounts().has(partition.name)) await this.#checkSpace(partition);
      return;
    }
    const percent = {
      allPercent: settings['fast.memory_percent'],
      ownerPercent: settings['fast.owner_percent'],
    };
    // What it holds is not spare any more.
    const memoryBytes = Math.max(0, wanted.memoryBytes - this.#memoryBytes(partition));
    const more = { ...wanted, memoryBytes };
    checkMemory(more, alike, this.#promisedBytes(others), await memory(), percent);
  }

  /** Throws when a partition cannot have this size from now on: bad-value, fast-not-found, limit-exceeded, no-memory. */
  async admitSize(partition: FastPartition, bytes: number): Promise<void> {
    const medium = this.medium(partition);
    if (medium.resize === undefined) {
      const reason = `only what lies on ram can be given another one, and this lies on ${partition.medium}`;
      throw new PersonaError('bad-value', { name: 'the size', reason });
    }
    const isThere =
      partition.state === 'ready' && this.place.shown(partition, medium) !== undefined;
    if (!isThere) throw notShown(partition);
    await this.admit({ ...partition, bytes });
    if (this.#usedBytes(partition) > bytes) throw tooSmallFor(this.place.at(partition.name));
  }

  /** Throws `no-space` when so much would leave too little of the disk, or of the volume. */
  async #checkSpace({ bytes, volume }: FastPartition): Promise<void> {
    const { space, volumes } = this.#parts;
    if (volume === undefined) return await space.check(bytes);
    const spare = Math.max(0, volumes.spareBytes(volume));
    if (bytes <= spare) return;
    throw new PersonaError('no-space', {
      needed: formatSize(bytes),
      free: formatSize(spare),
      path: `volume ${volume}`,
    });
  }

  /** Memory that these may still take. */
  #promisedBytes(partitions: readonly FastPartition[]): number {
    return partitions
      .filter((one) => this.medium(one).takesMemory)
      .reduce((sum, one) => sum + Math.max(0, one.bytes - this.#memoryBytes(one)), 0);
  }

  /** Memory that the partition takes now. */
  #memoryBytes(partition: FastPartition): number {
    const medium = this.medium(partition);
    if (this.place.shown(partition, medium) === undefined) return 0;
    return medium.memoryBytes(partition, this.place.at(partition.name));
  }

  /** All partitions, or those of one user. */
  async views(owner?: number): Promise<FastView[]> {
    const all = await readPartitions(this.#parts.store);
    return all
      .filter((one) => owner === undefined || one.owner === owner)
      .map((one) => this.#view(one));
  }

  async view(name: string): Promise<FastView> {
    return this.#view(await this.partition(name));
  }

  #view(partition: FastPartition): FastView {
    const problem = this.#problems.get(partition.id);
    return {
      ...partition,
      path: this.place.at(partition.name),
      usedBytes: this.#usedBytes(partition),
      memoryBytes: this.#memoryBytes(partition),
      shown: this.place.shown(partition, this.medium(partition)) !== undefined,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #usedBytes({ name }: FastPartition): number {
    if (!this.place.mounts().has(name)) return 0;
    const { totalBytes, availableBytes } = localSpaceOf(this.place.at(name));
    return totalBytes - availableBytes;
  }

  /**
   * Takes up what is still mounted, and makes again, empty, what a boot has ended. What cannot be had is told, and stays away
   * until the next start. Before the engine recovers.
   */
  async recover(): Promise<void> {
    const { store, log, volumes } = this.#parts;
    const back: FastPartition[] = [];
    const known = await readPartitions(store);
    await removeStrays(volumes, known).catch((err: unknown) =>
      log.warn({ err }, 'cannot remove images of fast partitions that are gone'),
    );
    for (const partition of known) {
      if (partition.state === 'ending') continue; // the engine goes on with it
      try {
        await this.#bringBack(partition, this.#promisedBytes(back));
        back.push(partition);
      } catch (err) {
        const { message } = toWire(err);
        this.#problems.set(partition.id, message);
        log.error({ err, partition: partition.name }, 'cannot bring a fast partition back');
      }
    }
  }

  async #bringBack(partition: FastPartition, promisedBytes: number): Promise<void> {
    const { store, log, memory } = this.#parts;
    const medium = this.medium(partition);
    if (this.place.shown(partition, medium) !== undefined) {
      const problem = await medium.keepUp(partition);
      if (problem !== undefined) this.#problems.set(partition.id, problem);
      return;
    }
    const begun = partition.boot === bootId();
    // Its ground, where it has outlived the boot, holds what is not to be seen again.
    if (!begun) await medium.drop(partition);
    if (medium.takesMemory) {
      // What was granted once is not asked for again, but no side may starve.
      const granted = { account: 0, bytes: 0, memoryBytes: partition.bytes };
      const none = { allPercent: 0, ownerPercent: 0 };
      checkMemory(granted, [], promisedBytes, await memory(), none);
    }
    const anew: FastPartition = { ...partition, boot: bootId() };
    const put = (one: FastPartition) => store.commit((tx) => putPartition(tx, one));
    const save = (opened: Opened) => put({ ...anew, ...opened });
    const { empty, opened } = await this.place.show(anew, medium, save);
    await put({ ...anew, ...opened, ...(empty ? { emptiedMs: this.now() } : {}) });
    const why = begun ? 'its mount was taken off' : 'the machine has started';
    const what = empty ? 'a fast partition was made again, empty' : 'a fast partition is back';
    log.warn({ partition: partition.name, why }, what);
  }

  /** What of it wants a person. */
  async notices(): Promise<{ text: string; command: string }[]> {
    if (this.#problems.size === 0 && this.place.isEmpty()) return [];
    const known = await readPartitions(this.#parts.store);
    const names = new Set(known.map(({ name }) => name));
    const strange = [...this.place.mounts().keys()].filter((name) => !names.has(name));
    return [
      ...known.flatMap(({ id, name }) => {
        const problem = this.#problems.get(id);
        if (problem === undefined) return [];
        return [
          {
            text: `fast partition ${name}: ${problem}`,
            command: `personactl fast rm ${name}`,
          },
        ];
      }),
      ...strange.map((name) => ({
        text: `mounted among the fast partitions, unknown to the database: ${name}`,
        command: `umount ${this.place.at(name)}`,
      })),
    ];
  }

  /** A partition that was removed has no problem any more. */
  forget({ id }: FastPartition): void {
    this.#problems.delete(id);
  }

  /** Partitions stay mounted. */
  close(): void {
    this.place.close();
  }
}

function checkMedium({ obstacle, bytesMin }: Medium, { medium, bytes }: FastPartition): void {
  const missing = obstacle();
  if (missing !== undefined) throw new PersonaError('capability-missing', missing);
  if (bytes >= bytesMin) return;
  const reason = `a fast partition on ${medium} has at least ${formatSize(bytesMin)}`;
  throw new PersonaError('bad-value', { name: 'the size', reason });
}
