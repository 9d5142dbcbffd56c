import type { Log } from '../changes/log.ts';
import { accountOf } from '../kernel/accounts.ts';
import { sharesProcessIds } from '../kernel/process-ids.ts';
import { runningProgram } from '../kernel/running-program.ts';
import type { Placements } from './placements.ts';
import type { ProfilesRoom } from './room.ts';
import type { Running } from './running.ts';
import { type Choice, choose } from './selection.ts';
import { isSpecial } from './sought.ts';
import { stopViolation, toldOf, type ViolationPolicy } from './violation.ts';
import { weightsOf } from './weights.ts';

/** Ids of people, not of services; the last one is nobody's (UID_MIN of login.defs(5), systemd's uids). */
const isPerson = (uid: number): boolean => uid >= 1_000 && uid !== 65_534;

/** What programs are looked up in, put by, and told to. */
export interface PastStartsParts {
  applications: Pick<ProfilesRoom, 'forLaunch' | 'fileAt'>;
  accountOf(uid: number): number;
  placements: Placements;
  running: Running;
  policy: ViolationPolicy;
  log: Log;
}

/**
 * Programs that were started without the daemon where it makes the groups itself: each is put into one of its own, as a launch would be, with its
 * weights. A profile in memory waits for the next start; what must be kept apart is told, or stopped.
 */
export class PastStarts {
  readonly #parts: PastStartsParts;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: PastStartsParts) {
    this.#parts = parts;
  }

  /** Takes a process that runs a program for which something is to be done. Safe to repeat. */
  async take(pid: number): Promise<void> {
    // One after the other: a process that was told twice is taken once.
    const work = this.#work.then(() => this.#take(pid));
    this.#work = work.catch(() => undefined);
    await work;
  }

  async #take(pid: number): Promise<void> {
    const { applications, placements, running } = this.#parts;
    // Who was answered before he became the program is in his group after this.
    await placements.settled();
    const program = runningProgram(pid);
    const account = program && this.#parts.accountOf(program.uid);
    if (program === undefined || account === undefined || !isPerson(account)) return;
    if (!sharesProcessIds(pid)) return;
    const gid = accountOf(account)?.gid ?? account;
    const catalogue = await applications.forLaunch({ uid: account, gid, groups: [] });
    const known = running.in(placements.groupOf(pid) ?? '');
    const found = catalogue.find(program, applications.fileAt, known?.app);
    const choice = choose({ ...found, obstacles: {} });
    if (found.recognised.by !== 'executable' || !isSpecial(choice)) return;
    const app = found.application.id;
    // Its own processes stay with it, and what was launched is what it is.
    if (known?.app === app) {
      // An earlier daemon has placed it, and could not write down what it is.
      if (known.rule === 'unknown') await this.#stop(known.group, choice);
      return;
    }
    const weights = weightsOf(choice.cpu, undefined);
    const start = { app, ...toldOf(choice), by: 'found', recognised: true, weights } as const;
    const placed = await placements.place(app, program, start);
    if (placed.state === 'follows') await this.#stop(placed.group, choice);
  }

  async #stop(group: string, choice: Choice): Promise<void> {
    const { placements } = this.#parts;
    const violation = await stopViolation(placements.folder(group), choice, this.#parts);
    if (violation !== undefined)
      placements.tell(group, { ...toldOf(choice), by: 'found', violation });
  }
}
