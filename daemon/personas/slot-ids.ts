import { closeSync, existsSync, mkdirSync, openSync, unlinkSync } from 'node:fs';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { createUserNamespace } from '../kernel/idmap.ts';
import { attach, changeMount, cloneTree, unmount } from '../kernel/mounts.ts';
import { statMount } from '../kernel/stat-mount.ts';
import type { Slot } from './slot-rows.ts';

/** Ids in one range: as many as the old programs of an operating system can count to. */
export const RANGE_IDS = 65_536;
/** First id of the first range, far above what distributions hand out to users and containers. */
export const FIRST_RANGE = 2_130_706_432;
/** Ranges up to the last id that signed counters can hold. */
const RANGES_MAX = Math.floor((2 ** 31 - 1 - FIRST_RANGE) / RANGE_IDS);

/** The lowest range no slot has. Throws limit-exceeded when all are taken. */
export function freeRange(slots: Slot[], first = FIRST_RANGE): { first: number; count: number } {
  const taken = new Set(slots.map(({ ids }) => ids?.first));
  for (let i = 0; i < RANGES_MAX; i += 1) {
    const start = first + i * RANGE_IDS;
    if (!taken.has(start)) return { first: start, count: RANGE_IDS };
  }
  throw new PersonaError('limit-exceeded', {
    what: 'the number of slots of root',
    limit: RANGES_MAX,
  });
}

/** User namespaces of the slots that have ids of their own: each made once, and kept at `run/userns/FIRST` for the tool. */
export class SlotNamespaces {
  #folder: string;
  #kept = new Map<number, Promise<Fd>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where a tool of root finds the namespace of this slot. */
  place(slot: Slot): string | undefined {
    return slot.ids === undefined ? undefined : `${this.#folder}/${slot.ids.first}`;
  }

  /** The namespace of a slot; undefined when its layers keep their ids. */
  of(slot: Slot): Promise<Fd> | undefined {
    const { ids } = slot;
    if (ids === undefined) return undefined;
    const kept = this.#kept.get(ids.first) ?? this.#make(ids);
    this.#kept.set(ids.first, kept);
    kept.catch(() => this.#kept.delete(ids.first));
    return kept;
  }

  async #make(ids: { first: number; count: number }): Promise<Fd> {
    const namespace = await createUserNamespace(ids);
    const place = `${this.#folder}/${ids.first}`;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    // What an earlier daemon left mounted here can be opened for reading only.
    if (existsSync(place) && statMount(place).isMountRoot) await unmount(place, { detach: true });
    closeSync(openSync(place, 'a', 0o600));
    using file = cloneTree(namespace);
    attach(file, place);
    changeMount(place, { propagation: 'private' });
    return namespace;
  }

  /** Lets go of the namespace of a slot that is removed: its range may be given to another. Safe to repeat. */
  async drop(slot: Slot): Promise<void> {
    const place = this.place(slot);
    if (slot.ids === undefined || place === undefined) return;
    const kept = this.#kept.get(slot.ids.first);
    this.#kept.delete(slot.ids.first);
    await kept?.then(
      (fd) => fd.closeLater(),
      () => undefined,
    );
    try {
      if (statMount(place).isMountRoot) await unmount(place, { detach: true });
      unlinkSync(place);
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
    }
  }

  /** Lets go of all; the places stay for programs that are being started. */
  async close(): Promise<void> {
    for (const kept of this.#kept.values())
      await kept.then(
        (fd) => fd.closeLater(),
        () => undefined,
      );
    this.#kept.clear();
  }
}
