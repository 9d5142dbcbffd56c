import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PersonaError } from '../../ipc/errors.ts';
import { failedWith } from '../kernel/errno.ts';
import { type MountLine, readMountinfo } from '../kernel/mountinfo.ts';
import { attach, openPlace, unmount } from '../kernel/mounts.ts';
import { type Inside, whoIsInside } from '../kernel/processes.ts';
import { statMount } from '../kernel/stat-mount.ts';
import { UnmountWatch } from '../kernel/unmount-watch.ts';
import type { Medium } from './medium.ts';
import type { FastPartition, Opened } from './partition.ts';

/** A namespace that is only being made lets go of what it has copied within this time; then it counts as inside. */
const SETTLE_MS = 3_000;
const LOOK_MS = 50;
/** How long a file system may take to end once it is taken off and nobody is inside. */
const END_MS = 10_000;
const NAMED_MAX = 5;

/** Where fast partitions are shown: each at its name below one folder that everybody may pass and nobody but root may list. */
export class FastPlace {
  readonly #folder: string;
  readonly #watch = new UnmountWatch();
  /** File systems that were taken off, by the id of their partition, until they have ended. */
  readonly #ending = new Map<string, Promise<void>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  at(name: string): string {
    return join(this.#folder, name);
  }

  /** True when nothing can be mounted below the folder: each mount has a name there. */
  isEmpty(): boolean {
    try {
      return readdirSync(this.#folder).length === 0;
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return true;
      throw error;
    }
  }

  /** What is mounted below the folder: names, and the topmost mount at each. */
  mounts(): Map<string, MountLine> {
    const folder = `${Buffer.from(this.#folder).toString('latin1')}/`;
    const found = new Map<string, MountLine>();
    for (const line of readMountinfo())
      if (line.at.startsWith(folder)) found.set(line.at.slice(folder.length), line);
    return found;
  }

  /** The partition's own mount and what is to be kept of it, or undefined where there is none. */
  shown(partition: FastPartition, medium: Medium): (MountLine & { opened: Opened }) | undefined {
    const line = this.mounts().get(partition.name);
    const opened = line && medium.openedOf(partition, line);
    return line && opened && { ...line, opened };
  }

  /** Shows the partition at its name. Safe to repeat: one that is shown stays. Throws when something else is mounted there. */
  async show(
    partition: FastPartition,
    medium: Medium,
    save: (opened: Opened) => Promise<void>,
  ): Promise<{ empty: boolean; opened: Opened }> {
    const at = this.at(partition.name);
    const shown = this.shown(partition, medium);
    if (shown !== undefined) return { empty: false, opened: shown.opened };
    if (this.mounts().has(partition.name))
      throw new PersonaError('already-exists', { what: `a mount at ${at}` });
    mkdirSync(at, { recursive: true, mode: 0o700 });
    const { mount, ...facts } = await medium.open(partition, save);
    try {
      attach(mount, at);
    } finally {
      await mount.closeLater();
    }
    return facts;
  }

  /** Gives a partition that is shown another size, while it is in use: `medium` can do that. Throws bad-value when it holds more. */
  async resize(partition: FastPartition, medium: Medium, bytes: number): Promise<void> {
    using root = openPlace(this.at(partition.name));
    const shown = this.shown(partition, medium);
    // What is at the name by now may be another one.
    if (shown === undefined || statMount(root).device !== shown.device) throw notShown(partition);
    await medium.resize?.(root, bytes, shown.opened);
  }

  /**
   * Throws `in-use` when programs are inside, or a mount namespace keeps the partition for itself. Who could not be told counts when he is its
   * owner: nobody else gets in.
   */
  async vacate(partition: FastPartition, medium: Medium): Promise<void> {
    const line = this.shown(partition, medium);
    if (line === undefined) return;
    const until = performance.now() + SETTLE_MS;
    for (;;) {
      const inside = (await whoIsInside(new Set([line.device]))).filter(
        ({ device, by, uid }) =>
          device !== undefined || by === 'namespace' || uid === partition.owner,
      );
      if (inside.length === 0) return;
      const passing = inside.every(({ by }) => by === 'namespace');
      if (!passing || performance.now() >= until) throw inUse(partition, inside);
      await pause(LOOK_MS);
    }
  }

  /**
   * Takes the partition off and waits until its file system has ended, whoever held it; only then is what it took free. Safe to repeat.
   * Throws `in-use` when somebody came in between, or does not let go.
   */
  async end(partition: FastPartition, medium: Medium): Promise<void> {
    const at = this.at(partition.name);
    const line = this.shown(partition, medium);
    if (line !== undefined) {
      this.#expectEnd(partition, at);
      try {
        await unmount(at);
      } catch (error) {
        if (!failedWith(error, 'EBUSY')) throw error;
        throw inUse(partition, await whoIsInside(new Set([line.device])));
      }
    }
    const ended = this.#ending.get(partition.id);
    if (ended !== undefined) {
      this.#watch.hurry();
      const late = new AbortController();
      const done = await Promise.race([
        ended.then(() => true),
        pause(END_MS, false, { signal: late.signal }),
      ]);
      late.abort();
      if (!done) throw inUse(partition, []);
      this.#ending.delete(partition.id);
    }
    await medium.drop(partition);
    this.#removeFolder(at);
  }

  /** Takes back a partition that was never committed: nobody was told of it, so whoever is inside is not waited for. Safe to repeat. */
  async takeBack(partition: FastPartition, medium: Medium): Promise<void> {
    const at = this.at(partition.name);
    if (this.shown(partition, medium) !== undefined) await unmount(at, { detach: true });
    await medium.drop(partition);
    if (!this.mounts().has(partition.name)) this.#removeFolder(at);
  }

  #expectEnd(partition: FastPartition, at: string): void {
    if (this.#ending.has(partition.id)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    using root = openPlace(at);
    this.#watch.watch(root, resolve);
    this.#ending.set(partition.id, promise);
  }

  #removeFolder(at: string): void {
    try {
      rmdirSync(at);
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
    }
  }

  /** Partitions stay as they are. */
  close(): void {
    this.#watch.close();
  }
}

/** What is said of one that is not there to be worked on. */
export const notShown = ({ name }: FastPartition): PersonaError =>
  new PersonaError('fast-not-found', { name, reason: 'it is not there now' });

function inUse({ name }: FastPartition, inside: readonly Inside[]): PersonaError {
  const named = inside
    .slice(0, NAMED_MAX)
    .map(({ pid, name: program }) => `${program} (pid ${pid})`);
  const more = inside.length > NAMED_MAX ? ` and ${inside.length - NAMED_MAX} more` : '';
  const by = named.length === 0 ? 'somebody who cannot be named' : `${named.join(', ')}${more}`;
  return new PersonaError('in-use', { what: `fast partition ${name}`, by });
}
