import { isDeepStrictEqual } from 'node:util';

/** What a thing is found to be: plain data, compared as a whole. `null`: it is not there. */
export type State = { [key: string]: unknown } | null;

/** One request about one thing. Times are positions in the log of the disk. */
interface Line {
  thing: string;
  asked: number;
  answered: number;
  /** What the thing is from then on. */
  after: State;
}

/**
 * What a client was told, and when. From it follows what may be found after a power cut: what was answered before it
 * is so; what was asked before it and not answered may be so or as before; all else is as before.
 */
export class Ledger {
  readonly #lines: Line[] = [];
  readonly #position: () => number;

  /** `position` is that of the log, now. */
  constructor(position: () => number) {
    this.#position = position;
  }

  /**
   * Does something to a thing: `work` asks, waits for the answer and says what the thing is now. One at a time for
   * each thing. A failure is thrown on; the thing is what it was.
   */
  async ask<T extends State>(thing: string, work: () => Promise<T>): Promise<T> {
    const asked = this.#position();
    const after = await work();
    this.#lines.push({ thing, asked, answered: this.#position(), after });
    return after;
  }

  /** The positions at which an answer came: after each of these its answer binds. */
  answers(): number[] {
    return this.#lines.map(({ answered }) => answered).sort((a, b) => a - b);
  }

  /** All things of which something had been answered at `position`. */
  sure(position: number): string[] {
    const lines = this.#lines.filter(({ answered }) => answered <= position);
    return [...new Set(lines.map(({ thing }) => thing))];
  }

  /** What a thing may be after a power cut at `position`. The first is what it was surely once. */
  allowed(thing: string, position: number): State[] {
    let sure: State = null;
    const possible: State[] = [];
    for (const line of this.#lines.filter((one) => one.thing === thing)) {
      if (line.answered <= position) sure = line.after;
      else if (line.asked < position) possible.push(line.after);
    }
    return [sure, ...possible];
  }

  /** What is wrong with what was found after a power cut at `position`: empty when all is allowed. */
  judge(found: ReadonlyMap<string, State>, position: number): string[] {
    const faults: string[] = [];
    for (const thing of new Set([...this.sure(position), ...found.keys()])) {
      const state = found.get(thing) ?? null;
      const allowed = this.allowed(thing, position);
      if (!allowed.some((one) => isDeepStrictEqual(one, state)))
        faults.push(
          `${thing} is ${JSON.stringify(state)}; allowed: ${allowed.map((one) => JSON.stringify(one)).join(' or ')}`,
        );
    }
    return faults;
  }
}
