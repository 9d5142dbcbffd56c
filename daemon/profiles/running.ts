import type { ProcessId } from '../kernel/processes.ts';
import type { Weights } from '../kernel/scope-unit.ts';
import type { Profile } from './application.ts';

/** An application that runs. */
export interface RunningApplication {
  app: string;
  /** The user it counts to. */
  account: number;
  /** Its control group: what is bound to it ends with the group, not with one of its processes. */
  group: string;
  profile: Profile;
  rule: string;
  reason: string;
  sinceMs: number;
  /** It was started through the daemon, or found running. */
  by: 'launch' | 'found';
  /** The process that was started. */
  process?: ProcessId;
  /** What its group was to have beside others. */
  weights?: Weights;
  /** It is known by its file. Absent where that was forgotten. */
  recognised?: boolean;
  /** Others are in the group as well: it was found there, and left. */
  shared?: true;
  /** What it should have been, and what was done about it. */
  violation?: string;
}

/** Who hears of what begins and ends. */
export interface RunListener {
  began(one: RunningApplication): void;
  ended(group: string): void;
}

/** All applications that are known to run, each by its group. Who adds some keeps limits. */
export class Running {
  readonly #all = new Map<string, RunningApplication>();
  readonly #listener: RunListener | undefined;

  constructor(listener?: RunListener) {
    this.#listener = listener;
  }

  begin(one: RunningApplication): void {
    this.#all.set(one.group, one);
    this.#listener?.began(one);
  }

  end(group: string): void {
    if (this.#all.delete(group)) this.#listener?.ended(group);
  }

  /** What runs in a group. */
  in(group: string): RunningApplication | undefined {
    return this.#all.get(group);
  }

  /** Those of a user, or of everybody, the last started first. */
  list(account?: number): RunningApplication[] {
    return [...this.#all.values()]
      .filter((one) => account === undefined || one.account === account)
      .reverse();
  }
}
