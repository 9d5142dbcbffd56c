import { constants, lstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import type { Settings } from '../config/settings.ts';
import { localSpaceOf } from '../kernel/disk-usage.ts';
import { growExt4, readExt4 } from '../kernel/ext4.ts';
import { Fd } from '../kernel/fd.ts';
import { holdExt4 } from '../kernel/held-ext4.ts';
import { findLoop } from '../kernel/loop-find.ts';
import { readMountinfo } from '../kernel/mountinfo.ts';
import { unmount } from '../kernel/mounts.ts';
import { ownBlocks, ownedBytes } from '../kernel/own-blocks.ts';
import { type Capabilities, capabilities } from '../kernel/probe.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import type { Store } from '../store/store.ts';
import type { Space } from './space.ts';
import {
  findUpperImage,
  makeUpperImage,
  type Problem,
  repairOf,
  sweepUpperImage,
  upperImageName,
  upperImageOf,
} from './upper-image.ts';

/** What the place of uppers depends on. */
export interface UpperPlaceParts {
  paths: Pick<Paths, 'state' | 'run'>;
  settings: Settings['values'];
  space: Space;
  log: Log;
}

/** A mounted volume of our own. */
export interface UpperVolume {
  /** Its image in the state tree, and the folder it is mounted at. */
  image: string;
  at: string;
  /** Bytes of the image that the file system of the state tree does not keep for it: writes into it may fail. */
  missingBytes: number;
}

/** Space of the volume, as status and `system df` show it. */
export interface VolumeUsage {
  image: string;
  totalBytes: number;
  freeBytes: number;
}

/**
 * Where slots keep what is written in them: the folder `slots` of the state tree itself, or, where its file system cannot hold
 * uppers, an ext4 volume of our own that is mounted there.
 */
export class UpperPlace {
  readonly at: string;
  readonly image: string;
  /** Why slots cannot keep anything. Nothing may be changed then. */
  problem: Problem | undefined;
  volume: UpperVolume | undefined;
  #parts: UpperPlaceParts;

  constructor(parts: UpperPlaceParts) {
    this.#parts = parts;
    this.at = join(parts.paths.state, statePlaces.slots);
    this.image = upperImageOf(parts.paths.state);
  }

  /** Mounts the volume that is there, or takes up the mount of an earlier run. Before the database is judged by what slots hold. */
  async bringBack(): Promise<void> {
    const { state } = this.#parts.paths;
    await sweepUpperImage(state);
    const found = await findUpperImage(state);
    if (found === 'absent') return;
    if (found !== 'there') this.problem = found.problem;
    else
      await this.#mounted(async () => {
        await this.#grow();
        await this.#mount(await ownBlocks(this.image));
      });
  }

  /**
   * What the machine can do, with uppers where they will be. Makes the volume when one is needed and `mayMake`; when that fails,
   * `problem` says why.
   */
  async ready(store: Store, mayMake: boolean): Promise<Capabilities> {
    const { state, run } = this.#parts.paths;
    for (const name of readdirSync(this.at))
      if (name.startsWith('.probe-')) await removeTree(join(this.at, name)); // of a start that was ended
    const first = await capabilities(state, run, this.at);
    const wanted = !first.ways.uppers && this.problem === undefined;
    if (wanted && this.volume === undefined && mayMake)
      await this.#mounted(() => this.#make(store));
    if (this.volume === undefined) return first;
    const machine = await capabilities(state, run, this.at);
    const { detail } = machine.list.find(({ id }) => id === 'uppers') ?? { detail: '' };
    if (!machine.ways.uppers) this.problem ??= unusable(this.image, detail);
    return machine;
  }

  /** Runs what ends with a volume; a failure is the problem that stands in status. */
  async #mounted(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      await this.#parts.space.alsoWatch(this.at);
    } catch (error) {
      this.problem = problemOf(this.image, error);
      this.#parts.log.error({ err: error, image: this.image }, this.problem.text);
    }
  }

  async #make(store: Store): Promise<void> {
    const { paths, settings, space, log } = this.#parts;
    const row = await store.get("SELECT count(*) AS n FROM uppers WHERE state <> 'gone'");
    const hidden = readdirSync(this.at).length;
    if (hidden > 0 || Number(row?.n ?? 0) > 0) throw new HeldElsewhere(this.at);
    const missing = await makeUpperImage(paths.state, settings, space);
    const bytes = formatSize(lstatSync(this.image).size);
    log.info({ image: this.image, bytes }, 'made a volume for what slots write');
    await this.#mount(missing);
  }

  async #mount(missingBytes: number): Promise<void> {
    const { log } = this.#parts;
    const flags = constants.O_RDWR | constants.O_NOFOLLOW;
    using file = new Fd(openSync(this.image, flags), this.image);
    const held = await holdExt4(file, upperImageName, this.at);
    if (held === undefined) throw new HeldElsewhere(this.at);
    if (!held.kept)
      log.info({ image: this.image }, 'the kernel may give blocks of the volume back');
    if (missingBytes > 0)
      log.warn({ image: this.image, missingBytes }, 'the volume does not own all its blocks');
    this.volume = { image: this.image, at: this.at, missingBytes };
  }

  /** Makes the volume as large as the setting says; it never shrinks. What fails is told, and the volume stays as it is. */
  async #grow(): Promise<void> {
    const { settings, space, log } = this.#parts;
    const wanted = Math.floor(settings['space.upper_volume'] / 4096) * 4096;
    const bytes = readExt4(this.image)?.bytes ?? 0;
    if (wanted <= bytes) return;
    try {
      if (await this.#inUse())
        throw new Error('it is mounted: it grows at a start with no slot shown');
      await space.check(wanted - bytes);
      if ((await ownBlocks(this.image, wanted)) > 0)
        throw new Error('not all of its blocks could be set aside');
      await growExt4(this.image);
      log.info({ from: formatSize(bytes), to: formatSize(wanted) }, 'the upper volume has grown');
    } catch (err) {
      log.warn(
        { err, image: this.image },
        'cannot make the upper volume larger, going on as it is',
      );
    }
  }

  async #inUse(): Promise<boolean> {
    using file = new Fd(openSync(this.image, 'r'), this.image);
    const loop = await findLoop(file, upperImageName);
    await loop?.device.closeLater();
    return loop !== undefined;
  }

  /** Space of the volume; undefined without one. */
  usage(): VolumeUsage | undefined {
    if (this.volume === undefined) return undefined;
    const { totalBytes, availableBytes } = localSpaceOf(this.at);
    return { image: this.image, totalBytes, freeBytes: availableBytes };
  }

  /** What stands in status among the ways that are not the best ones. */
  fallbacks(): { capability: string; using: string; reason: string }[] {
    if (this.volume === undefined) return [];
    const using = `What slots write lives on an ext4 volume of our own, ${this.image}.`;
    const reason = `the file system of ${this.#parts.paths.state} cannot hold it`;
    return [{ capability: 'uppers', using, reason }];
  }

  /** Bytes that the image takes from the state tree's file system; 0 without a volume. */
  ownedBytes(): number {
    return this.volume === undefined ? 0 : ownedBytes(this.image);
  }

  /** What wants a person. */
  notices(): Problem[] {
    const { volume, problem } = this;
    if (problem !== undefined) return [problem];
    if (volume === undefined || volume.missingBytes === 0) return [];
    const text = `${formatSize(volume.missingBytes)} of the volume that holds what slots write are not set aside: make room on the file system of the state tree and restart the daemon`;
    return [{ text, command: 'personactl system df' }];
  }

  /** Takes the volume off, unless a slot shows a tree or a program is in it: then it stays for the next start. */
  async close(): Promise<void> {
    if (this.volume === undefined) return;
    const { paths, log } = this.#parts;
    const anchors = `${Buffer.from(join(paths.run, runPlaces.slots)).toString('latin1')}/`;
    const shown = readMountinfo().some(
      ({ type, at }) => type === 'overlay' && at.startsWith(anchors),
    );
    if (shown) return;
    try {
      await unmount(this.at);
    } catch (err) {
      log.info({ err }, 'the upper volume is in use and stays mounted');
    }
  }
}

/** Data lies where the volume would hide it, or rows speak of data that is not there. */
class HeldElsewhere extends Error {
  constructor(at: string) {
    super(`${at} holds, or has held, data of another file system`);
  }
}

function unusable(image: string, detail: string): Problem {
  const text = `${image}, which holds what slots write, cannot be used: ${detail}. Repair it and restart the daemon`;
  return { text, command: repairOf(image) };
}

function problemOf(image: string, error: unknown): Problem {
  const { message, hint } = toWire(error);
  if (error instanceof HeldElsewhere) {
    const text = `${error.message}, and the volume for what slots write would hide it. Put it right and restart the daemon`;
    return { text, command: 'findmnt; personactl status' };
  }
  if (error instanceof PersonaError)
    return { text: `${message}. ${hint}`, command: 'personactl doctor' };
  return unusable(image, error instanceof Error ? error.message : message);
}
