import { type FreezeFiles, letGo } from '../kernel/freezer.ts';

/**
 * A moment for which a writer stops programs. When it is over they go on by this as well: their writer may hang in a file system that does not
 * answer, and what it takes counts for nothing then.
 */
export class StandStill {
  readonly #groups: readonly FreezeFiles[];
  readonly #maxMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(groups: readonly FreezeFiles[], maxMs: number) {
    this.#groups = groups;
    this.#maxMs = maxMs;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** They are stopped from now on. False when that was said before. */
  begin(): boolean {
    if (this.#timer !== undefined) return false;
    // Again and again: a writer that was held up stops them later than it says.
    this.#timer = setInterval(() => this.#letGo(), this.#maxMs);
    return true;
  }

  #letGo(): void {
    this.#isOver = true;
    try {
      letGo(this.#groups);
    } catch {
      // The next time.
    }
  }

  /** Their writer has answered, or has ended. */
  end(): void {
    clearInterval(this.#timer);
  }
}
