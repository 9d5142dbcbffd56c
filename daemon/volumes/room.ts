import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import { type Paths, statePlaces } from '../config/paths.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import { errorsText } from '../kernel/ext4-witness.ts';
import type { Fd } from '../kernel/fd.ts';
import { type Range, sizeOf } from '../kernel/file-blocks.ts';
import { ensureFolder, exists, namesOf } from '../kernel/files.ts';
import { type HeldExt4, holdExt4 } from '../kernel/held-ext4.ts';
import { missingBytes, openImage, ownWhatGoes } from './backing.ts';
import { ballastBytes, ballastRanges } from './ballast.ts';
import { endVolume, show } from './mounted.ts';
import { outside } from './ranges.ts';
import { readVolume } from './record.ts';
import {
  fullBelow,
  placesOf,
  type Volume,
  type VolumeName,
  type VolumePlaces,
  volumeNames,
  wayPastLimit,
} from './volume.ts';
import { witnessVolume } from './witness.ts';

/** A start has no longer for the blocks of a volume; what is missing then stands in status. */
const START_MS = 30_000;

/** What the room is opened with. */
export interface VolumesParts {
  paths: Pick<Paths, 'state' | 'run'>;
  log: Log;
  now(): number;
  /** What lies in a volume and must be taken out by its own means before the volume goes, in words. */
  heldBy(volume: VolumeName): Promise<string[]>;
}

/** A volume that is mounted, as it was checked last. */
interface Mounted extends HeldExt4 {
  missingBytes: number;
}

/** A volume as it is shown. */
export interface VolumePage {
  name: VolumeName;
  state: 'ready' | 'broken';
  problem?: string;
  at: string;
  image: string;
  limitBytes: number;
  createdMs: number;
  /** Absent where it is not mounted. */
  space?: {
    sizeBytes: number;
    freeBytes: number;
    ownedBytes: number;
    missingBytes: number;
    directIo: boolean;
    keepsBlocks: boolean;
  };
}

/** Something that wants a person, with the command that helps. */
export interface VolumeNotice {
  volume: VolumeName;
  grave: boolean;
  text: string;
  command: string;
}

/** The room of volumes: which there are, and that they are mounted and own their blocks. */
export class VolumesRoom {
  readonly parts: VolumesParts;
  #known = new Map<VolumeName, Volume>();
  #mounted = new Map<VolumeName, Mounted>();
  #problems = new Map<VolumeName, string>();

  constructor(parts: VolumesParts) {
    this.parts = parts;
  }

  places(name: VolumeName): VolumePlaces {
    return placesOf(this.parts.paths, name);
  }

  /** Mounts the volumes that there are, or takes up the mounts of an earlier run. What fails is told in status. */
  async bringBack(): Promise<void> {
    for (const name of volumeNames) {
      const places = this.places(name);
      const volume = await readVolume(name, places);
      if (volume === undefined) {
        if (await exists(places.image))
          this.#problems.set(name, `${places.image} has no record beside it, so it is left alone`);
        continue;
      }
      this.#known.set(name, volume);
      await this.bringUp(volume).catch((error: unknown) => {
        const { message } = toWire(error);
        this.#problems.set(name, error instanceof PersonaError ? message : String(error));
        this.parts.log.error({ err: error, volume: name }, 'cannot mount a volume');
      });
    }
  }

  /** Mounts the volume, sees to it that it owns its blocks, and shows it. Safe to repeat. */
  async bringUp(volume: Volume): Promise<void> {
    const { name } = volume;
    const places = this.places(name);
    await this.hold(volume, places.image, places.imageName);
    await ensureFolder(places.at, 0o755);
    await show(places);
    this.#known.set(name, volume);
    this.#problems.delete(name);
    if (this.#mounted.get(name)?.missingBytes)
      this.parts.log.warn({ volume: name }, 'a volume does not own all its blocks');
  }

  /** Mounts the image of a volume for root alone and has it own what is not ballast. */
  async hold(volume: Volume, image: string, imageName: string): Promise<void> {
    const { whole, ballast } = this.places(volume.name);
    const { problem } = witnessVolume(image, volume);
    if (problem !== undefined)
      throw new PersonaError('state-damaged', `${image} is damaged or not the volume: ${problem}`);
    await ensureFolder(whole, 0o700);
    using file = openImage(image);
    const held = await holdExt4(file, imageName, whole, { directIo: true });
    if (held === undefined)
      throw new PersonaError('in-use', { what: whole, by: 'another file system' });
    this.#mounted.set(volume.name, { ...held, missingBytes: 0 });
    if (!(await exists(ballast))) return; // only while it is being made
    const missing = await this.#own(volume, file, await ballastRanges(ballast));
    this.#mounted.set(volume.name, { ...held, missingBytes: missing });
  }

  /** Has the image own all but its ballast, where there is room for it. Returns the bytes that it does not own. */
  async #own({ limitBytes }: Volume, image: Fd, ballast: Range[]): Promise<number> {
    const missing = await missingBytes(image, ballast);
    // The last blocks of a disk are of more use to others than a part of what is missing here.
    if (missing === 0 || localSpaceOf(this.folder).availableBytes <= missing) return missing;
    await ownWhatGoes(image, outside(ballast, limitBytes), AbortSignal.timeout(START_MS));
    return await missingBytes(image, ballast);
  }

  /** Takes the volume off. Throws `in-use` while somebody has it. */
  async takeDown(name: VolumeName): Promise<void> {
    await endVolume(this.places(name));
    this.#mounted.delete(name);
  }

  /** Forgets a volume that is gone. */
  forget(name: VolumeName): void {
    this.#known.delete(name);
    this.#problems.delete(name);
  }

  isKnown(name: VolumeName): boolean {
    return this.#known.has(name);
  }

  /** The volume of this name. Throws `volume-not-found`. */
  volume(name: VolumeName): Volume {
    const volume = this.#known.get(name);
    if (volume === undefined) throw new PersonaError('volume-not-found', { volume: name });
    return volume;
  }

  /** It is mounted, and nothing is wrong with it. */
  isReady(name: VolumeName): boolean {
    return this.problem(name) === undefined;
  }

  /** As `volume`, and it is mounted. Throws `state-damaged`. */
  ready(name: VolumeName): Volume {
    const volume = this.volume(name);
    if (this.isReady(name)) return volume;
    throw new PersonaError('state-damaged', `volume ${name}: ${this.problem(name)}`);
  }

  /** Bytes that the volume may hold now: all but its ballast. */
  sizeBytes({ name, limitBytes }: Volume): number {
    return limitBytes - ballastBytes(this.places(name).ballast);
  }

  /** Bytes in it that programs may still write. */
  freeBytes(name: VolumeName): number {
    return localSpaceOf(this.places(name).whole).availableBytes;
  }

  /** The volumes that there are. */
  names(): VolumeName[] {
    return [...this.#known.keys()];
  }

  /** Why a volume cannot be used, or undefined. */
  problem(name: VolumeName): string | undefined {
    const known = this.#problems.get(name);
    if (known !== undefined) return known;
    if (!this.#mounted.has(name)) return 'it is not mounted';
    // Root can take it off under us; then its folder is one of the run tree, and nothing may be made there.
    if (existsSync(this.places(name).ballast)) return undefined;
    return 'it was unmounted: restart the daemon, which mounts it again';
  }

  /** False only when nothing lies in it: one that is not mounted may hold anything. */
  mayHoldData(name: VolumeName): boolean {
    const { data, slots } = this.places(name);
    if (!this.isReady(name)) return true;
    return readdirSync(data).length > 0 || namesOf(slots, 'folder').length > 0;
  }

  /** Throws `in-use` while slots or fast partitions lie in the volume, whatever else may be given up. */
  async checkUnheld(name: VolumeName): Promise<void> {
    const holders = await this.parts.heldBy(name);
    if (holders.length === 0) return;
    const more = holders.length > 5 ? ` and ${holders.length - 5} more` : '';
    throw new PersonaError('in-use', {
      what: `volume ${name}`,
      by: `${holders.slice(0, 5).join(', ')}${more}, whose data lie in it`,
    });
  }

  /** The folder in a volume that holds those of slots. Throws volume-not-found, and state-damaged while it is not mounted. */
  slotsOf(name: VolumeName): string {
    this.ready(name);
    return this.places(name).slots;
  }

  /** The folder in a volume that holds images of fast partitions. Throws as `slotsOf`. */
  fastOf(name: VolumeName): string {
    this.ready(name);
    return this.places(name).fast;
  }

  /** How many there are, mounted or not. */
  count(): number {
    return this.#known.size;
  }

  /** Volumes that are mounted. */
  mounted(): VolumeName[] {
    return [...this.#known.keys()].filter((name) => this.isReady(name));
  }

  /** Bytes that the images of all volumes own on the disk. */
  ownedBytes(): number {
    return [...this.#known.keys()].reduce((sum, name) => {
      try {
        using file = openImage(this.places(name).image);
        return sum + sizeOf(file).ownedBytes;
      } catch {
        return sum; // told of elsewhere
      }
    }, 0);
  }

  /** Bytes that the volume did not own when that was looked at last. */
  missing(name: VolumeName): number {
    return this.#mounted.get(name)?.missingBytes ?? 0;
  }

  /** Looks again whether the volume owns its blocks. */
  async check(name: VolumeName, image = this.places(name).image): Promise<void> {
    const mounted = this.#mounted.get(name);
    if (mounted === undefined) return;
    const { ballast } = this.places(name);
    using file = openImage(image);
    const { missingBytes: before } = mounted;
    mounted.missingBytes = await missingBytes(file, await ballastRanges(ballast));
    const [news] = before === 0 ? this.#missingNotices(name) : [];
    if (news !== undefined) this.parts.log.warn({ volume: name }, `${news.text}: ${news.command}`);
  }

  /** The volumes, in the order of their names' list; of one of them where `only` is given. */
  async pages(only?: VolumeName): Promise<VolumePage[]> {
    const pages: VolumePage[] = [];
    for (const volume of this.#known.values())
      if (only === undefined || volume.name === only) pages.push(await this.#page(volume));
    return pages;
  }

  async #page(volume: Volume): Promise<VolumePage> {
    const { name, limitBytes, createdMs } = volume;
    const { at, image } = this.places(name);
    const problem = this.problem(name);
    const page = { name, at, image, limitBytes, createdMs };
    const mounted = this.#mounted.get(name);
    if (problem !== undefined || mounted === undefined)
      return { ...page, state: 'broken', problem: problem ?? 'it is not mounted' };
    await this.check(name);
    using file = openImage(image);
    return {
      ...page,
      state: 'ready',
      space: {
        sizeBytes: this.sizeBytes(volume),
        freeBytes: this.freeBytes(name),
        ownedBytes: sizeOf(file).ownedBytes,
        missingBytes: mounted.missingBytes,
        directIo: mounted.direct,
        keepsBlocks: mounted.kept,
      },
    };
  }

  /** What to tell of a volume that is mounted and about to be full; undefined while it is not. */
  fullNotice(name: VolumeName): VolumeNotice | undefined {
    const volume = this.volume(name);
    const size = this.sizeBytes(volume);
    const free = this.freeBytes(name);
    if (free >= fullBelow(size)) return undefined;
    const full = `volume ${name} is about to be full: ${formatSize(free)} of ${formatSize(size)} are free`;
    const notice = { volume: name, grave: false };
    if (size < volume.limitBytes)
      return { ...notice, text: full, command: `personactl volume resize ${name} SIZE` };
    const text = `${full}, and it has the limit that it was made with; ${wayPastLimit(name)}`;
    return { ...notice, text, command: `personactl volume show ${name}` };
  }

  /** What of volumes wants a person. */
  notices(): VolumeNotice[] {
    const named = new Set([...this.#known.keys(), ...this.#problems.keys()]);
    const broken = [...named].flatMap((volume) => {
      const problem = this.problem(volume);
      if (problem === undefined) return [];
      const text = `volume ${volume} cannot be used: ${problem}`;
      return [{ volume, grave: true, text, command: `personactl volume show ${volume}` }];
    });
    const others = [...this.#known.values()]
      .filter(({ name }) => this.isReady(name))
      .flatMap((volume) => {
        const full = this.fullNotice(volume.name);
        const errors = this.#errorNotices(volume);
        return [...errors, ...(full ? [full] : []), ...this.#missingNotices(volume.name)];
      });
    return [...broken, ...others];
  }

  #errorNotices(volume: Volume): VolumeNotice[] {
    const { name } = volume;
    const text = errorsText(witnessVolume(this.places(name).image, volume));
    if (text === undefined) return [];
    const command = 'personactl system integrity';
    return [{ volume: name, grave: true, text: `volume ${name}: ${text}`, command }];
  }

  #missingNotices(name: VolumeName): VolumeNotice[] {
    const missing = this.#mounted.get(name)?.missingBytes ?? 0;
    if (missing === 0) return [];
    return [
      {
        volume: name,
        grave: true,
        text: `${formatSize(missing)} of volume ${name} are not set aside: make room on the file system of the state tree and restart the daemon, before a write in it fails`,
        command: 'personactl system df',
      },
    ];
  }

  /** The folder that images lie in. */
  get folder(): string {
    return join(this.parts.paths.state, statePlaces.volumes);
  }
}

/** Opens the room, and mounts the volumes that there are. */
export async function openVolumes(parts: VolumesParts): Promise<VolumesRoom> {
  const room = new VolumesRoom(parts);
  await room.bringBack();
  return room;
}
