import type { Child } from '../kernel/exec.ts';
import type { Fd } from '../kernel/fd.ts';
import { FROZEN_MS_MAX, type FreezeFiles, Freezer, letGo } from '../kernel/freezer.ts';
import { passFiles } from '../kernel/passed-files.ts';
import { startWriter } from '../kernel/start-writer.ts';
import { StandStill } from './stand-still.ts';
import { type Answer, type Ask, STOPPING, type Task } from './talk.ts';

/** Longest line of an answer: a problem and a path. */
const LINE_MAX = 16_384;
const PROBLEM_MAX = 400;
const STOPPING_LINE = JSON.stringify(STOPPING);
const BUSY = 'it is busy all the time';
/** What takes no time is answered in this. */
const ANSWER_MS = 60_000;

type Said = Answer['said'];
type AnswerTo<T extends Said> = Extract<Answer, { said: T }>;

/** The writer has failed, or did not answer in time; `late`: the program could not be stopped long enough. */
export class WriterFailed extends Error {
  readonly late: boolean;

  constructor(problem: string, late = false) {
    super(problem);
    this.late = late;
  }
}

const isCount = (value: unknown): boolean =>
  value === undefined || (Number.isFinite(value) && (value as number) >= 0);

/** An answer as it is to be; what is said by a program of a user is looked at before it counts. Throws WriterFailed. */
export function readAnswer<T extends Said>(line: string, wanted: T): AnswerTo<T> {
  let answer: Record<string, unknown>;
  try {
    answer = JSON.parse(line);
  } catch {
    throw new WriterFailed('its writer says what is no answer');
  }
  if (answer?.said === 'late') throw new WriterFailed(BUSY, true);
  if (answer?.said === 'failed')
    throw new WriterFailed(String(answer.problem).slice(0, PROBLEM_MAX));
  const { said, ...counts } = answer ?? {};
  if (said !== wanted || !Object.values(counts).every(isCount))
    throw new WriterFailed('its writer answers something else');
  return answer as AnswerTo<T>;
}

/** A child that works on a user's folders, as that user. */
export class WriterChild {
  readonly #child: Child;
  readonly #channel: Fd;
  /** Groups that it may have stopped, and what it knows of. */
  #stops: readonly FreezeFiles[] = [];
  #told: string | undefined = '';
  readonly #frozenMsMax: number;
  /** While it is asked to stop them for a moment. */
  #stop: StandStill | undefined;
  #buffer = '';
  #waiting: ((line: string | undefined) => void) | undefined;
  #ended = false;

  /**
   * @param child reads a task first; @param channel the other end of its descriptor 3, closed with it
   * @param frozenMsMax the longest time for which it may stop programs
   */
  constructor(child: Child, channel: Fd, frozenMsMax = FROZEN_MS_MAX) {
    this.#frozenMsMax = frozenMsMax;
    this.#child = child;
    this.#channel = channel;
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => this.#take(text));
    child.stdout.on('close', () => {
      this.#ended = true;
      this.#channel.close();
      this.#deliver(undefined);
    });
  }

  static async start(task: Task): Promise<WriterChild> {
    const { child, channel } = await startWriter(task.caller.uid);
    child.stdin?.write(`${JSON.stringify(task)}\n`);
    return new WriterChild(child, channel, task.frozenMsMax);
  }

  /** From now on it may stop these groups for moments, and no others. */
  async mayStop(groups: readonly FreezeFiles[]): Promise<void> {
    const paths = groups.map(({ control }) => control).join('\n');
    if (paths === this.#told) return;
    this.#told = undefined;
    if (this.#ended) throw new WriterFailed('its writer has ended');
    const { versions, files } = Freezer.open(groups);
    try {
      passFiles(this.#channel, files);
    } finally {
      for (const one of files) one.close();
    }
    this.#stops = groups;
    await this.ask({ do: 'stops', versions }, 'ready', ANSWER_MS);
    this.#told = paths;
  }

  #take(text: string): void {
    const lines = (this.#buffer + text).split('\n');
    this.#buffer = lines.pop() ?? '';
    for (const line of lines) {
      if (line === STOPPING_LINE && this.#stop?.begin()) continue;
      if (this.#waiting === undefined) {
        this.#refuse();
        return;
      }
      this.#deliver(line);
    }
    if (this.#buffer.length > LINE_MAX) this.#refuse();
  }

  /** It says what nobody has asked for, or without end; others may go on with that when it has ended. */
  #refuse(): void {
    this.#child.kill();
    this.#child.stdout.destroy();
  }

  #deliver(line: string | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(line);
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Asks one thing and waits for the answer. One at a time. Throws WriterFailed; whoever does not answer in time is ended. */
  async ask<T extends Said>(ask: Ask, wanted: T, deadlineMs: number): Promise<AnswerTo<T>> {
    if (this.#ended) throw new WriterFailed('its writer has ended');
    const answered = new Promise<string | undefined>((resolve) => {
      this.#waiting = resolve;
    });
    this.#child.stdin?.write(`${JSON.stringify(ask)}\n`);
    const timer = setTimeout(() => this.#child.kill(), deadlineMs);
    const line = await answered;
    clearTimeout(timer);
    if (line === undefined) {
      // It was killed in the moment in which they stood still: nobody else lets them go on.
      letGo(this.#stops);
      throw new WriterFailed('its writer has ended');
    }
    return readAnswer(line, wanted);
  }

  /** Asks it to take a moment. Those whom it stops for that go on in time, even when it hangs then. Throws WriterFailed. */
  async take(mapped: string[], freeze: boolean, deadlineMs: number): Promise<AnswerTo<'taken'>> {
    const stop = new StandStill(this.#stops, this.#frozenMsMax);
    this.#stop = stop;
    try {
      const taken = await this.ask({ do: 'take', mapped, freeze }, 'taken', deadlineMs);
      // They have gone on while it was copied.
      if (stop.isOver) throw new WriterFailed(BUSY, true);
      return taken;
    } finally {
      stop.end();
      this.#stop = undefined;
    }
  }

  /** Ends it. What was saved stays. */
  async end(): Promise<void> {
    this.#child.stdin?.end();
    this.#child.kill();
    await this.#child.done.catch(() => undefined);
  }
}
