import { join } from 'node:path';
import type { Log } from '../changes/log.ts';
import type { Progress } from '../changes/task.ts';
import type { Child } from '../kernel/exec.ts';
import { type ScrubLine, startScrubber } from '../kernel/scrub-child.ts';
import { sameFile } from './file-witness.ts';
import { type KeptFile, keptFiles } from './kept-files.ts';
import type { PersonasRoom } from './room.ts';
import type { Known } from './witnesses.ts';

/** The first look of a daemon comes when what starts with it has settled. */
const firstLookMs = 60_000;
/** What was asked for is gone on with sooner. */
const resumeMs = 1_000;
/** A look for what is due costs a query; nothing is due sooner than this after the one before. */
const lookEveryMsMax = 24 * 3_600_000;
/** After a swap has begun the disk is left to it for at least so long. */
const asideMs = 1_000;
/** Longest time of one child: more than the largest state needs, and a child that hangs ends. */
const childTimeoutMs = 7 * 24 * 3_600_000;
/** The scrub that was asked for, until all of it is done: whatever cuts it off, the next start goes on. */
const askedFact = 'scrub-asked';

/** What the scrub is made from. */
export interface ScrubParts {
  room: PersonasRoom;
  log: Log;
  /** This boot: after a power cut a file may hold other bytes than were written. */
  boot: string;
  /** Every file is hashed this often; 0: only when it is asked for. */
  everyMs: number;
  /** How fast it reads when nobody has asked; 0: as fast as it goes. */
  bytesPerSecond: number;
  /** What is wrong with images that cannot be hashed, because programs write in them. */
  others?(): Promise<{ file: string; problem: string }[]>;
  /** For tests: before the first look. */
  firstMs?: number;
}

/** How far the scrub is. */
export interface ScrubState {
  /** Somebody has asked for it; otherwise it came by itself. */
  asked: boolean;
  files: number;
  filesDone: number;
  bytes: number;
  bytesDone: number;
  /** It stands aside while a swap runs. */
  paused: boolean;
}

/** How one round ended. */
export interface ScrubResult {
  files: number;
  bytes: number;
  damaged: { file: string; problem: string }[];
}

interface Round extends ScrubState {
  child: Child;
}

/**
 * Hashes every file of personas and layers again, one after the other, in a child that stands behind everything else. What is
 * done is written down file by file, so that a round that was cut off goes on with the file it was at.
 */
export class Scrub {
  #parts: ScrubParts;
  #round: Round | undefined;
  /** Rounds come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #aside: NodeJS.Timeout | undefined;
  #askedMs: number | undefined;
  /** Callers who wait for their turn or their round. */
  #asking = 0;
  #nextMs: number | undefined;
  #stopping = false;

  constructor(parts: ScrubParts) {
    this.#parts = parts;
  }

  /** Begins to look for what is due, now and then. */
  async start(): Promise<void> {
    const { room, firstMs = firstLookMs } = this.#parts;
    const row = await room.store.get('SELECT value FROM facts WHERE name = ?', askedFact);
    this.#askedMs = row === undefined ? undefined : Number(row.value);
    this.#lookIn(this.#askedMs === undefined ? firstMs : resumeMs);
  }

  /** How far the round that runs is, and when the next look for what is due comes. */
  state(): { round?: ScrubState; nextMs?: number } {
    const next = this.#nextMs === undefined ? {} : { nextMs: this.#nextMs };
    if (this.#round === undefined) return next;
    const { child: _, ...round } = this.#round;
    return { round, ...next };
  }

  /** Whether a file would be hashed by a round that begins now. */
  isDue(file: string): boolean {
    return this.#isDue(file, this.#parts.room.witnesses.get(file), this.#parts.room.now());
  }

  /** Everything that a scrub reads. */
  files(): Promise<KeptFile[]> {
    return keptFiles(this.#parts.room);
  }

  /**
   * Hashes every file now, as fast as it goes. When `signal` ends it nothing is left to be done; a daemon that stops or
   * crashes meanwhile goes on with the rest in its next run.
   */
  async ask(signal: AbortSignal, onProgress: (progress: Progress) => void): Promise<ScrubResult> {
    const { room } = this.#parts;
    const atMs = room.now();
    await room.store.commit((tx) =>
      tx.run('INSERT OR REPLACE INTO facts VALUES (?, ?)', askedFact, String(atMs)),
    );
    this.#askedMs = atMs;
    const end = () => this.#round?.child.kill();
    signal.addEventListener('abort', end);
    this.#asking += 1;
    try {
      // A round that came by itself gives way: its rest is part of this one.
      if (this.#round?.asked === false) end();
      return await this.#inTurn(() => this.#run(true, signal, onProgress));
    } catch (error) {
      if (signal.aborted && !this.#stopping) await this.#forgetAsked();
      throw signal.aborted ? signal.reason : error;
    } finally {
      this.#asking -= 1;
      signal.removeEventListener('abort', end);
      this.#lookIn(lookEveryMsMax);
    }
  }

  /** A swap begins: the child stops reading until none `runs` any more. Costs nothing while no round runs. */
  swapBegins(runs: () => boolean): void {
    if (this.#round === undefined) return;
    this.#holdRound(true);
    clearTimeout(this.#aside);
    this.#aside = setTimeout(() => this.#swapEnds(runs), asideMs).unref();
  }

  /** From now on an end of a change is no wish to end the scrub. */
  stopping(): void {
    this.#stopping = true;
    clearTimeout(this.#timer);
  }

  /** Ends what runs; what it has found so far stands. */
  async stop(): Promise<void> {
    this.stopping();
    clearTimeout(this.#aside);
    this.#round?.child.kill();
    await this.#turn;
  }

  #swapEnds(runs: () => boolean): void {
    if (runs()) this.swapBegins(runs);
    else this.#holdRound(false);
  }

  #holdRound(held: boolean): void {
    if (this.#round === undefined || this.#round.paused === held) return;
    this.#round.paused = held;
    this.#round.child.hold(held);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#nextMs = undefined;
    if (this.#stopping || (this.#parts.everyMs === 0 && this.#askedMs === undefined)) return;
    this.#nextMs = this.#parts.room.now() + ms;
    this.#timer = setTimeout(() => void this.#look(), ms).unref();
  }

  async #look(): Promise<void> {
    const { log } = this.#parts;
    try {
      await this.#inTurn(() => this.#run(false, new AbortController().signal, () => undefined));
    } catch (err) {
      if (!this.#stopping && this.#asking === 0)
        log.warn({ err }, 'cannot hash the images again, trying later');
    }
    this.#lookIn(lookEveryMsMax);
  }

  #isDue(file: string, known: Known | undefined, nowMs: number): boolean {
    const { everyMs, boot, room } = this.#parts;
    const lastMs = known?.hashed?.atMs ?? known?.damage?.foundMs;
    if (this.#askedMs !== undefined && (lastMs === undefined || lastMs < this.#askedMs))
      return true;
    if (everyMs === 0) return false;
    if (lastMs === undefined || nowMs - lastMs >= everyMs) return true;
    // The kernel compares what it reads of a sealed file with the seal: no boot changes that.
    const elsewhere = known?.hashed !== undefined && known.hashed.boot !== boot;
    return elsewhere && room.seals.get(file) === undefined;
  }

  /** Hashes what is due. */
  async #run(
    asked: boolean,
    signal: AbortSignal,
    onProgress: (progress: Progress) => void,
  ): Promise<ScrubResult> {
    signal.throwIfAborted();
    const { room, bytesPerSecond, log } = this.#parts;
    const nowMs = room.now();
    const due = (await this.files()).filter(({ file }) =>
      this.#isDue(file, room.witnesses.get(file), nowMs),
    );
    const bytes = due.reduce((sum, one) => sum + one.bytes, 0);
    if (due.length > 0 && !this.#stopping) {
      log.debug({ files: due.length, bytes }, 'images are hashed again');
      await this.#hash(due, asked ? 0 : bytesPerSecond, { asked, signal, onProgress });
    }
    signal.throwIfAborted();
    if (this.#stopping) throw new Error('the daemon is stopping');
    await this.#forgetAsked();
    const damaged = due.flatMap(({ file }) => {
      const problem = room.witnesses.problemOf(file);
      return problem === undefined ? [] : [{ file, problem }];
    });
    const others = (await this.#parts.others?.()) ?? [];
    for (const one of others) log.error(one, 'an image that programs write in is damaged');
    return { files: due.length, bytes, damaged: [...damaged, ...others] };
  }

  async #hash(
    due: readonly KeptFile[],
    bytesPerSecond: number,
    {
      asked,
      signal,
      onProgress,
    }: {
      asked: boolean;
      signal: AbortSignal;
      onProgress(progress: Progress): void;
    },
  ): Promise<void> {
    const { room } = this.#parts;
    // Taken before anything is read: a file that is the same one afterwards is the one that was read.
    const before = due.map(({ file }) => witnessIn(room, file));
    const files = due.map(({ file, bytes }) => ({ path: join(room.paths.state, file), bytes }));
    const child = await startScrubber({ bytesPerSecond, files }, childTimeoutMs);
    const bytes = due.reduce((sum, one) => sum + one.bytes, 0);
    const round: Round = {
      ...{ child, asked, files: due.length, filesDone: 0 },
      ...{ bytes, bytesDone: 0, paused: false },
    };
    this.#round = round;
    if (signal.aborted || this.#stopping || (!asked && this.#asking > 0)) child.kill();
    let ended = 0;
    try {
      for await (const line of linesOf(child)) {
        const one = due[line.file];
        if (one === undefined) throw new Error(`the scrubber speaks of file ${line.file}`);
        if ('done' in line) round.bytesDone = ended + line.done;
        else {
          this.#settle(one, line, before[line.file]);
          ended += one.bytes;
          round.bytesDone = ended;
          round.filesDone += 1;
        }
        onProgress({ done: round.bytesDone, total: bytes, unit: 'bytes', note: one.file });
      }
      await child.done;
    } finally {
      child.kill();
      clearTimeout(this.#aside);
      this.#round = undefined;
    }
  }

  /** Writes down what was found of one file, unless it became another one while it was read. */
  #settle(
    { file, digest, kind }: KeptFile,
    line: Exclude<ScrubLine, { done: number }>,
    before: Known['witness'],
  ): void {
    const { room, boot, log } = this.#parts;
    const { witnesses } = room;
    const after = witnessIn(room, file);
    const same = before && after ? sameFile(before, after) : before === after;
    // Of a file that was removed meanwhile nothing is known any more, or will be at the next start.
    if (!same) return;
    const atMs = room.now();
    if ('digest' in line && line.digest === digest && after !== undefined) {
      witnesses.note(file, { digest, witness: after, hashed: { atMs, boot } });
      return;
    }
    const problem = 'problem' in line ? line.problem : 'its bytes have changed';
    if (witnesses.get(file) === undefined) witnesses.note(file, { digest });
    witnesses.damaged(file, problem, atMs, after);
    log.error({ file, kind, digest, problem }, 'an image is damaged');
  }

  async #forgetAsked(): Promise<void> {
    if (this.#askedMs === undefined) return;
    this.#askedMs = undefined;
    await this.#parts.room.store.commitSoon((tx) =>
      tx.run('DELETE FROM facts WHERE name = ?', askedFact),
    );
  }
}

async function* linesOf(child: Child): AsyncGenerator<ScrubLine> {
  let rest = '';
  for await (const piece of child.stdout) {
    const lines = (rest + String(piece)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as ScrubLine;
  }
}

/** What the file is now; undefined when it is not one of ours any more. */
function witnessIn({ witnesses }: PersonasRoom, file: string): Known['witness'] {
  try {
    return witnesses.look(file, 0);
  } catch {
    return undefined;
  }
}
