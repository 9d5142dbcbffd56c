import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { ensureFolder, namesOf, syncFolder } from '../kernel/files.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import type { InVolume, Slot } from './slot-rows.ts';

/** What slots need of volumes. */
export interface SlotVolumes {
  /** The folder of a volume that holds those of slots. Throws volume-not-found, and state-damaged while it is not mounted. */
  slotsOf(volume: string): string;
  /** Bytes that may still be written in it. */
  freeBytes(volume: string): number;
}

/** A slot, as far as its place goes. */
type Placed = Pick<Slot, 'name' | 'volume'>;

/** Where the writable layers of slots lie: in the state tree, or in a folder of a volume. */
export class UpperPlaces {
  readonly #slots: string;
  readonly #volumes: SlotVolumes;

  /** @param slots the folder `slots` of the state tree. */
  constructor(slots: string, volumes: SlotVolumes) {
    this.#slots = slots;
    this.#volumes = volumes;
  }

  /** The folder of a slot's uppers at this place. Throws while it cannot be reached. */
  folder(slot: string, place: InVolume | undefined): string {
    if (place === undefined) return join(this.#slots, slot, 'uppers');
    return join(this.#volumes.slotsOf(place.name), place.folder);
  }

  /** A folder of its own for a slot in a volume that is mounted. Throws volume-not-found, state-damaged. */
  fresh(slot: string, volume: string): InVolume {
    const place = { name: volume, folder: `${slot}-${randomBytes(4).toString('hex')}` };
    this.folder(slot, place);
    return place;
  }

  /** Bytes that may still be written at this place. */
  freeBytes({ name }: InVolume): number {
    return this.#volumes.freeBytes(name);
  }

  /** Throws while what the slot wrote cannot be reached: nothing may be made in its place. */
  check({ name, volume }: Placed): void {
    if (volume === undefined) return;
    const path = this.folder(name, volume);
    if (existsSync(path)) return;
    throw new PersonaError(
      'state-damaged',
      `${path}, which holds what slot ${name} wrote, is not there`,
    );
  }

  /** The folder of a slot's uppers in a volume. Throws while it cannot be reached. */
  reached(slot: string, volume: InVolume): string {
    this.check({ name: slot, volume });
    return this.folder(slot, volume);
  }

  /** Why what the slot wrote cannot be reached; undefined when it can. */
  problem(slot: Placed): string | undefined {
    try {
      this.check(slot);
      return undefined;
    } catch (error) {
      return `what was written in it cannot be reached: ${toWire(error).message}`;
    }
  }

  /** Makes the folder, durably. Safe to repeat. */
  async make(slot: string, place: InVolume): Promise<void> {
    const path = this.folder(slot, place);
    const all = join(path, '..');
    await ensureFolder(all);
    await ensureFolder(path);
    await syncFolder(join(all, '..'));
    await syncFolder(all);
  }

  /** Removes the folder with what is in it. What cannot be reached stays, and is told of when its volume is back. */
  async remove(slot: string, place: InVolume): Promise<void> {
    if (this.problem({ name: slot, volume: place }) !== undefined) return;
    const path = this.folder(slot, place);
    await removeTree(path);
    await syncFolder(join(path, '..'));
  }

  /** Folders of a volume that belong to none of these slots: a restore leaves them behind. */
  unknown(volume: string, slots: readonly Placed[]): string[] {
    const all = this.#volumes.slotsOf(volume);
    const known = new Set(
      slots.flatMap(({ volume: place }) => (place?.name === volume ? [place.folder] : [])),
    );
    return namesOf(all, 'folder')
      .filter((name) => !known.has(name))
      .map((name) => join(all, name));
  }
}
