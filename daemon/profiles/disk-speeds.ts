import type { Log } from '../changes/log.ts';
import type { Speed } from '../kernel/disk-speed.ts';

/** A disk is looked at again after this time, */
const FRESH_MS = 6 * 3_600_000;
/** and one that could not be looked at after this. */
const AGAIN_MS = 3_600_000;
/** Users of whose disks it is known. */
const OWNERS_MAX = 64;

/** What disks are looked at with. */
export interface DiskSpeedsParts {
  /** Measures the disk on which this user's home lies, for about a second. */
  look(owner: number): Promise<Speed>;
  /** Milliseconds since boot. */
  nowMs(): number;
  log: Log;
}

interface Looked {
  atMs: number;
  speed: Speed | undefined;
}

/** How fast the disks are on which users keep their data: looked at when an application has ended, never while one starts. */
export class DiskSpeeds {
  readonly #parts: DiskSpeedsParts;
  readonly #known = new Map<number, Looked>();
  #looking: Promise<unknown> = Promise.resolve();

  constructor(parts: DiskSpeedsParts) {
    this.#parts = parts;
  }

  #fresh(owner: number): Looked | undefined {
    const known = this.#known.get(owner);
    if (known === undefined) return undefined;
    const lastsMs = known.speed === undefined ? AGAIN_MS : FRESH_MS;
    return this.#parts.nowMs() - known.atMs < lastsMs ? known : undefined;
  }

  /** What is known of this user's disk, without looking. */
  known(owner: number): Speed | undefined {
    return this.#fresh(owner)?.speed;
  }

  /** The same, after a look where the last one is long ago: one after the other. Undefined where it cannot be told. */
  async of(owner: number): Promise<Speed | undefined> {
    const looking = this.#looking.then(async () => {
      if (this.#fresh(owner) === undefined) await this.#look(owner);
    });
    this.#looking = looking;
    await looking;
    return this.known(owner);
  }

  async #look(owner: number): Promise<void> {
    const { look, nowMs, log } = this.#parts;
    const speed = await look(owner).catch((err) => {
      log.warn({ err, owner }, 'cannot measure the disk of a user, trying again later');
      return undefined;
    });
    this.#known.delete(owner);
    this.#known.set(owner, { atMs: nowMs(), speed });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= OWNERS_MAX) break;
      this.#known.delete(oldest);
    }
  }
}
