import type { Log } from '../changes/log.ts';
import { accountOf } from '../kernel/accounts.ts';
import { processesOf } from '../kernel/cgroups.ts';
import { sharesProcessIds } from '../kernel/process-ids.ts';
import { runningProgram } from '../kernel/running-program.ts';
import type { Weights } from '../kernel/scope-unit.ts';
import { weighUserUnit } from '../kernel/user-manager.ts';
import type { Found } from './catalogue.ts';
import type { ProfilesRoom } from './room.ts';
import type { Running } from './running.ts';
import { choose } from './selection.ts';
import type { ScopeListener, UserScope } from './user-scopes.ts';
import { stopViolation, toldOf, type ViolationPolicy } from './violation.ts';
import { weightsOf } from './weights.ts';

/** What programs that were found are looked up in, and told to. */
export interface DetectorParts {
  /** The mounted hierarchy. */
  at: string;
  applications: Pick<ProfilesRoom, 'forLaunch' | 'fileAt'>;
  accountOf(uid: number): number;
  running: Running;
  /** This process was started through the daemon and is about to get a group of its own. */
  isLaunched(pid: number): boolean;
  policy: ViolationPolicy;
  now(): number;
  log: Log;
}

/**
 * When a group is looked at after something runs in it: who has put it there has often not become the program yet, and lists may be
 * read for the first time.
 */
const looksMs = [0, 20, 60, 120, 400, 1_500, 5_000];
/** Processes of a group that are looked at. */
const PROCESSES_MAX = 32;
/** Groups that wait for their weights. */
const WEIGHED_MAX = 64;

const lastPart = (group: string): string => group.slice(group.lastIndexOf('/') + 1);

/**
 * Applications that were started without the daemon. They are known by their executables; what their groups are called says nothing. What can
 * still be done is done: weights. A profile in memory waits for the next start; what must be kept apart is told, or stopped.
 */
export class Detector implements ScopeListener {
  readonly #parts: DetectorParts;
  /** Looks that are to come, by group. */
  readonly #looks = new Map<string, { scope: UserScope; timer: NodeJS.Timeout }>();
  #weighing: Promise<void> = Promise.resolve();
  #toWeigh = 0;

  constructor(parts: DetectorParts) {
    this.#parts = parts;
  }

  began(scope: UserScope): void {
    this.#later(scope, 0);
  }

  ended({ group }: UserScope): void {
    this.#forget(group);
    this.#parts.running.end(group);
  }

  /** Looks at a group at once where it would be looked at later: somebody wants to know what it was made for. */
  async looked(group: string): Promise<void> {
    const coming = this.#looks.get(group);
    if (coming !== undefined) await this.#tell(coming.scope);
  }

  async close(): Promise<void> {
    for (const group of [...this.#looks.keys()]) this.#forget(group);
    await this.#weighing;
  }

  #forget(group: string): void {
    clearTimeout(this.#looks.get(group)?.timer);
    this.#looks.delete(group);
  }

  #later(scope: UserScope, look: number): void {
    const [before = 0, at] = [looksMs[look - 1], looksMs[look]];
    this.#forget(scope.group);
    if (at === undefined) return;
    const timer = setTimeout(() => {
      this.#look(scope, look).catch((err: unknown) =>
        this.#parts.log.warn(
          { err, group: scope.group },
          'cannot look at a program that was found',
        ),
      );
    }, at - before).unref();
    this.#looks.set(scope.group, { scope, timer });
  }

  async #look(scope: UserScope, look: number): Promise<void> {
    if ((await this.#tell(scope)) === 'unknown') this.#later(scope, look + 1);
  }

  /** Tells what runs in a group, unless that has been told, or it has ended, meanwhile. */
  async #tell(scope: UserScope): Promise<'unknown' | undefined> {
    const coming = this.#looks.get(scope.group);
    const hasEnded = () => this.#looks.get(scope.group) !== coming;
    const found = await this.#find(scope);
    if (hasEnded()) return undefined;
    if (found === undefined) return 'unknown';
    await this.#take(scope, found, hasEnded);
    return undefined;
  }

  /** The application that runs in a group: the first that one of its processes is. */
  async #find({ group, account }: UserScope): Promise<Found | undefined> {
    const { applications, at } = this.#parts;
    const gid = accountOf(account)?.gid ?? account;
    const catalogue = await applications.forLaunch({ uid: account, gid, groups: [] });
    for (const pid of processesOf(`${at}/${group}`).slice(0, PROCESSES_MAX)) {
      const program = this.#parts.isLaunched(pid) ? undefined : runningProgram(pid);
      if (program === undefined || this.#parts.accountOf(program.uid) !== account) continue;
      // What was started apart is the child of a launcher that is still on its way to another group.
      if (!sharesProcessIds(pid)) continue;
      const found = catalogue.find(program, applications.fileAt);
      if (found.recognised.by === 'executable') return found;
    }
    return undefined;
  }

  async #take(scope: UserScope, found: Found, hasEnded: () => boolean): Promise<void> {
    const { running, now, at } = this.#parts;
    const choice = choose({ ...found, obstacles: {} });
    const violation = await stopViolation(`${at}/${scope.group}`, choice, this.#parts);
    // What was ended is often told of before this is over, and is told of once.
    if (hasEnded()) return;
    this.#forget(scope.group);
    const weights = violation === undefined ? weightsOf(choice.cpu, undefined) : {};
    running.begin({
      app: found.application.id,
      ...scope,
      ...toldOf(choice),
      sinceMs: now(),
      by: 'found',
      recognised: true,
      weights,
      ...(violation !== undefined && { violation }),
    });
    if (violation === undefined) this.#weigh(scope, weights);
  }

  /** Asks the user's manager for the weights of the group. One after the other, and never for more than can wait. */
  #weigh({ group, account }: UserScope, weights: Weights): void {
    const user = accountOf(account);
    if (user === undefined || Object.keys(weights).length === 0 || this.#toWeigh >= WEIGHED_MAX)
      return;
    this.#toWeigh += 1;
    this.#weighing = this.#weighing.then(async () => {
      try {
        const { uid, gid } = user;
        await weighUserUnit({ uid, gid, groups: [] }, lastPart(group), weights);
      } catch (err) {
        this.#parts.log.debug({ err, group }, 'cannot weigh a program that was found');
      } finally {
        this.#toWeigh -= 1;
      }
    });
  }
}
