import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { digestToFileName } from '../../ipc/values.ts';
import { mountErofs } from '../kernel/erofs.ts';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { attach, changeMount, unmount } from '../kernel/mounts.ts';
import type { Lower } from '../kernel/overlay.ts';
import type { Ways } from '../kernel/probe.ts';
import { statMount } from '../kernel/stat-mount.ts';
import type { Layer } from './layer.ts';
import type { PersonaSource } from './persona-source.ts';

/** Layers that stay mounted between swaps; beyond that the one unused for longest is let go. */
const KEPT_MAX = 64;

interface Kept {
  lower: Promise<Lower>;
  usedAt: number;
}

/** Mounted layers, kept between swaps: the mount and its page cache are what makes the next swap quick. */
export class LayerMounts {
  #source: PersonaSource;
  #ways: Ways;
  #staging: string;
  #kept = new Map<string, Kept>();
  #uses = 0;

  /** @param staging folder (0700) for attached layers, where the kernel cannot join detached ones. */
  constructor(source: PersonaSource, ways: Ways, staging: string) {
    this.#source = source;
    this.#ways = ways;
    this.#staging = staging;
  }

  /** The mounted layer, with ids shifted into `namespace` when one is given. `first` names that range. */
  async lower(layer: Layer, shift?: { namespace: Fd; first: number }): Promise<Lower> {
    const key = `${digestToFileName(layer.digest)}-${shift?.first ?? 0}`;
    this.#uses += 1;
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      kept.usedAt = this.#uses;
      return kept.lower;
    }
    const lower = this.#mount(layer, key, shift);
    this.#kept.set(key, { lower, usedAt: this.#uses });
    lower.catch(() => this.#kept.delete(key));
    const mounted = await lower;
    await this.#trim();
    return mounted;
  }

  async #mount(layer: Layer, key: string, shift: { namespace: Fd } | undefined): Promise<Lower> {
    using file = await this.#source.open(layer);
    const { offset, size } = layer;
    const mount = await mountErofs({ file, offset, size }, this.#ways.erofs);
    try {
      if (shift !== undefined) changeMount(mount, { idmap: shift.namespace });
      const sample = readdirSync(mount.path)[0];
      const place = this.#ways.lowers === 'staging' ? await this.#stage(mount, key) : { mount };
      return { ...place, ...(sample === undefined ? {} : { sample }) };
    } catch (error) {
      await mount.closeLater();
      throw error;
    }
  }

  /** Old kernels join only attached mounts: a hidden place, which no other namespace is told of. */
  async #stage(mount: Fd, key: string): Promise<Lower> {
    const attachedAt = `${this.#staging}/${key}`;
    mkdirSync(attachedAt, { recursive: true, mode: 0o700 });
    await clearPlace(attachedAt); // of an earlier run of the daemon
    attach(mount, attachedAt);
    changeMount(attachedAt, { propagation: 'private' });
    return { mount, attachedAt };
  }

  async #trim(): Promise<void> {
    while (this.#kept.size > KEPT_MAX) {
      const [key] = [...this.#kept].reduce((a, b) => (b[1].usedAt < a[1].usedAt ? b : a));
      await this.#drop(key);
    }
  }

  async #drop(key: string): Promise<void> {
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    const lower = await kept?.lower.catch(() => undefined);
    if (lower?.attachedAt !== undefined) await clearPlace(lower.attachedAt);
    await lower?.mount.closeLater();
  }

  /** Lets go of a layer, for who is about to remove its file. Trees that are active keep their own hold. */
  async forget(digest: string): Promise<void> {
    for (const key of [...this.#kept.keys()]) {
      if (key.startsWith(`${digestToFileName(digest)}-`)) await this.#drop(key);
    }
  }

  /** Lets go of all. */
  async close(): Promise<void> {
    for (const key of [...this.#kept.keys()]) await this.#drop(key);
  }
}

async function clearPlace(place: string): Promise<void> {
  try {
    while (statMount(place).isMountRoot) await unmount(place, { detach: true });
    rmdirSync(place);
    mkdirSync(place, { mode: 0o700 });
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}
