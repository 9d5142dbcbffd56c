import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import type { Log } from '../changes/log.ts';
import { ExecWatch } from '../kernel/exec-watch.ts';
import type { OpenProgram } from '../kernel/installed-programs.ts';
import { FreshIds, leaderOf, processIds } from '../kernel/process-ids.ts';
import { runningFile } from '../kernel/running-program.ts';
import type { Program } from './identity.ts';
import { fileKey } from './layer.ts';

/** What is watched, and who is told. */
export interface ProgramWatchParts {
  /** The programs that are looked for, read anew. */
  sought(): Promise<readonly Program[]>;
  /** Opens a program's file where only packages write; undefined elsewhere, and where it is not there. */
  open(path: string): OpenProgram | undefined;
  /** A process runs one of them. It may have been told before. */
  found(pid: number): Promise<void>;
  log: Log;
}

/** When all processes are looked at, and files watched anew, at the earliest and at the latest: an update puts another file at the path. */
const allMs = { least: 60_000, most: 600_000 };
/** Of a processor, for that: where there is much to look at it is done less often. */
const SHARE = 1 / 5_000;
/** When new processes are looked at, where a program lies in a place that is not watched. */
const freshMs = 1_000;
/** What was told to have changed is read after this time, together with what follows. */
const settleMs = 100;
/** Who begins to execute a file becomes the program a moment later; who does not in this time has failed to. */
const becomesMs = [0, 2, 8, 30, 100, 300];
/** Programs that are waited for at one time, and files that are watched. */
const limits = { awaited: 64, files: 1_024 };
/** Processes that are looked at before others get their turn. */
const SLICE = 64;

/** How long to rest after a look that took so much of a processor. */
export const restMs = (tookMs: number): number =>
  Math.min(allMs.most, Math.max(allMs.least, tookMs / SHARE));

/**
 * Notices when some programs start, by their files: the kernel tells of those that packages have installed, and nothing runs until then; others
 * are looked for among processes that are new. All processes are looked at each minute, or where that takes long less often, and whenever the programs change.
 */
export class ProgramWatch {
  readonly #parts: ProgramWatchParts;
  readonly #fresh = new FreshIds();
  #programs: readonly Program[] = [];
  #files: ReadonlySet<string> = new Set();
  #watch: ExecWatch | undefined;
  #awaited = 0;
  /** All processes are to be looked at: some news was lost. */
  #lost = false;
  /** New numbers that were no such program when they were looked at first: of who is forked and becomes it later. */
  #young: readonly number[] = [];
  #fresher: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  #settle: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(parts: ProgramWatchParts) {
    this.#parts = parts;
  }

  /** Programs are to be read anew, soon. */
  changed(): void {
    if (this.#closed) return;
    this.#settle ??= setTimeout(() => {
      this.#settle = undefined;
      this.#next(() => this.#begin());
    }, settleMs).unref();
  }

  /** What is being read meanwhile is not waited for: its end finds that nothing is watched any more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#settle);
    this.#stop();
    await this.#unwatch();
  }

  async #unwatch(): Promise<void> {
    await this.#watch?.close();
    this.#watch = undefined;
  }

  #next(work: () => Promise<void>): void {
    this.#work = this.#work
      .then(() => (this.#closed ? undefined : work()))
      .catch((err: unknown) => {
        if (!this.#closed) this.#parts.log.warn({ err }, 'cannot look for programs');
      });
  }

  #stop(): void {
    clearInterval(this.#fresher);
    clearTimeout(this.#again);
  }

  /** Nothing at all is done where no program is looked for. */
  async #begin(): Promise<void> {
    this.#stop();
    this.#programs = (await this.#parts.sought()).slice(0, limits.files);
    if (this.#closed) return;
    const isWhole = this.#arm();
    if (this.#files.size === 0) return await this.#unwatch();
    if (!isWhole)
      this.#fresher = setInterval(() => this.#next(() => this.#lookAtFresh()), freshMs).unref();
    this.#later(allMs.least);
    await this.#lookAtAll();
  }

  #later(ms: number): void {
    const again = async () => {
      const began = process.cpuUsage();
      try {
        this.#arm();
        await this.#lookAtAll();
      } finally {
        const { user, system } = process.cpuUsage(began);
        this.#later(restMs((user + system) / 1_000));
      }
    };
    clearTimeout(this.#again);
    if (!this.#closed && this.#programs.length > 0)
      this.#again = setTimeout(() => this.#next(again), ms).unref();
  }

  /** Watches the files that lie at the paths now. False when not all can be watched. */
  #arm(): boolean {
    const programs = this.#programs;
    const keys = new Set(programs.map(fileKey));
    const opened = programs.flatMap(({ path }) => this.#parts.open(path) ?? []);
    try {
      for (const now of opened) keys.add(fileKey(now));
      this.#files = keys;
      if (opened.length > 0) this.#watch ??= new ExecWatch((pid) => this.#heard(pid));
      const watched = this.#watch?.watch(opened.map(({ file }) => file)) ?? 0;
      return watched === programs.length;
    } catch (err) {
      this.#parts.log.debug({ err }, 'the kernel does not tell when programs start');
      return false;
    } finally {
      for (const { file } of opened) file.close();
    }
  }

  /** A process begins to execute a file. */
  #heard(pid: number | undefined): void {
    if (pid === undefined || this.#awaited >= limits.awaited) {
      this.#lose();
      return;
    }
    this.#awaited += 1;
    const become = async () => {
      for (const ms of becomesMs) {
        if (ms > 0) await pause(ms);
        if (this.#closed || (await this.#look(pid))) return;
      }
    };
    become()
      .catch((err: unknown) => this.#parts.log.warn({ err }, 'cannot look at a program'))
      .finally(() => {
        this.#awaited -= 1;
      });
  }

  #lose(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#next(() => this.#lookAtAll());
  }

  /** True when it is one of the programs. */
  async #look(pid: number): Promise<boolean> {
    const file = runningFile(pid);
    if (file === undefined || !this.#files.has(fileKey(file))) return false;
    const leader = leaderOf(pid);
    if (leader !== undefined) await this.#parts.found(leader);
    return true;
  }

  async #lookAtAll(): Promise<void> {
    this.#lost = false;
    this.#fresh.next();
    await this.#lookAt(processIds());
  }

  async #lookAtFresh(): Promise<void> {
    const fresh = this.#fresh.next();
    const before = this.#young;
    this.#young = fresh === 'all' ? [] : fresh;
    if (fresh === 'all') await this.#lookAtAll();
    else await this.#lookAt([...before, ...fresh]);
  }

  async #lookAt(pids: readonly number[]): Promise<void> {
    for (const [at, pid] of pids.entries()) {
      if (this.#closed) return;
      if (at % SLICE === SLICE - 1) await turn();
      await this.#look(pid);
    }
  }
}
