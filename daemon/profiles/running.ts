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
  /** What it should have been, and what was done about it. */
  violation?: string;
}

/** All applications that are known to run, each by its group. Who adds some keeps limits. */
export class Running {
  readonly #all = new Map<string, RunningApplication>();

  begin(one: RunningApplication): void {
    this.#all.set(one.group, one);
  }

  end(group: string): void {
    this.#all.delete(group);
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
