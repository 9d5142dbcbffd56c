import type { Log } from '../changes/log.ts';
import type { FilePins } from '../kernel/file-pins.ts';
import type { RunListener, RunningApplication } from './running.ts';

/** What a program runs is loaded by then. */
const LOADED_MS = 3_000;
/** After the last run of an application its files stay in memory so long. */
const KEPT_MS = 30 * 60_000;
/** Applications of which files are kept, of one user and of all. */
const PER_USER_MAX = 8;
const ALL_MAX = 32;

/** What pins are made with. */
export interface PinsParts {
  /** Keeps the files that run in this group in memory, `bytesMax` at most; undefined when nothing runs in it. */
  pin(
    group: string,
    account: number,
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<FilePins | undefined>;
  /** The most that may be kept of all applications now. */
  bytesMax(): number;
  log: Log;
  loadedMs?: number;
  keptMs?: number;
}

/** Files of an application that are kept. */
export interface PinnedPage {
  app: string;
  account: number;
  files: number;
  bytes: number;
}

interface Pinned {
  app: string;
  account: number;
  groups: Set<string>;
  pins: FilePins | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** Executables and libraries of applications of profile `fast`, kept in memory while they run and for a while afterwards. */
export class Pins implements RunListener {
  readonly #parts: PinsParts;
  readonly #all = new Map<string, Pinned>();
  /** One after the other: each must know what the others have. */
  #work: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(parts: PinsParts) {
    this.#parts = parts;
  }

  began({ app, account, group, profile, recognised }: RunningApplication): void {
    if (this.#closing.signal.aborted || profile !== 'fast' || recognised !== true) return;
    const key = `${account}/${app}`;
    const known = this.#all.get(key) ?? this.#first(key, app, account);
    if (known === undefined) return;
    known.groups.add(group);
    clearTimeout(known.timer);
    const pin = () => this.#next(known, () => this.#pin(known, group));
    known.timer = setTimeout(pin, this.#parts.loadedMs ?? LOADED_MS).unref();
  }

  ended(group: string): void {
    for (const [key, one] of this.#all) {
      if (!one.groups.delete(group) || one.groups.size > 0) continue;
      clearTimeout(one.timer);
      const end = () => void this.#drop(key, one);
      one.timer = setTimeout(end, this.#parts.keptMs ?? KEPT_MS).unref();
    }
  }

  /** Memory is short: lets go of all. The next start of each has them again. */
  async relieve(): Promise<void> {
    await Promise.all([...this.#all].map(([key, one]) => this.#drop(key, one)));
  }

  /** What is kept, of one user or of all. */
  pages(account?: number): PinnedPage[] {
    return [...this.#all.values()].flatMap(({ pins, groups: _, timer: __, ...one }) =>
      pins === undefined || (account !== undefined && account !== one.account)
        ? []
        : [{ ...one, files: pins.files, bytes: pins.bytes }],
    );
  }

  /** All that is kept, in bytes. */
  get bytes(): number {
    return this.pages().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.relieve();
  }

  #first(key: string, app: string, account: number): Pinned | undefined {
    const mine = [...this.#all.values()].filter((one) => one.account === account);
    if (mine.length >= PER_USER_MAX || this.#all.size >= ALL_MAX) return undefined;
    const one = { app, account, groups: new Set<string>(), pins: undefined, timer: undefined };
    this.#all.set(key, one);
    return one;
  }

  #next(one: Pinned, step: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(step).catch((err: unknown) => {
      const { app, account } = one;
      this.#parts.log.warn({ err, app, owner: account }, 'cannot keep files in memory, ignoring');
    });
    return this.#work;
  }

  /** What it runs now, in place of what an earlier version of it ran. */
  async #pin(one: Pinned, group: string): Promise<void> {
    const { signal } = this.#closing;
    if (signal.aborted || !one.groups.has(group)) return;
    const before = one.pins;
    const bytesMax = this.#parts.bytesMax() - this.bytes + (before?.bytes ?? 0);
    if (bytesMax <= 0) return;
    const pins = await this.#parts.pin(group, one.account, bytesMax, signal);
    if (pins === undefined) return;
    one.pins = pins;
    void pins.gone.then(() => {
      if (one.pins === pins) one.pins = undefined;
    });
    await before?.release();
  }

  async #drop(key: string, one: Pinned): Promise<void> {
    clearTimeout(one.timer);
    if (this.#all.get(key) === one) this.#all.delete(key);
    await this.#next(one, async () => {
      const { pins } = one;
      one.pins = undefined;
      await pins?.release();
    });
  }
}
