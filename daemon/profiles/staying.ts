import { type ProcessId, statOf } from '../kernel/processes.ts';
import type { RunningApplication } from './running.ts';

/** Applications that are told of, and processes of each. */
const limits = { perUserMax: 256, allMax: 1_024, processesMax: 64 };

/** Such an application, and a process of it. */
export type Stayer = RunningApplication & { process: ProcessId };

const keyOf = ({ app, account, group }: Stayer): string => `${account} ${app} ${group}`;

/**
 * Applications that were found, and left in groups which others are in as well. No group tells when one of them has ended, so each is known by
 * its processes, and those are asked when somebody wants to know.
 */
export class Staying {
  readonly #all = new Map<string, { one: Stayer; processes: ProcessId[] }>();

  /** A process of one of them runs. False when the application is told of already, or there are too many. */
  begin(one: Stayer): boolean {
    const key = keyOf(one);
    const processes = this.#alive(key);
    if (processes !== undefined) {
      const isKnown = processes.some(({ pid }) => pid === one.process.pid);
      if (!isKnown && processes.length < limits.processesMax) processes.push(one.process);
      return false;
    }
    if (this.#isFull(one.account)) return false;
    this.#all.set(key, { one, processes: [one.process] });
    return true;
  }

  /** Those of a user, or of everybody, that run now. */
  list(account?: number): RunningApplication[] {
    return [...this.#all].flatMap(([key, { one }]) => {
      if (account !== undefined && one.account !== account) return [];
      const process = this.#alive(key)?.[0];
      return process === undefined ? [] : [{ ...one, process }];
    });
  }

  /** Its processes that still run; it is forgotten with the last one. */
  #alive(key: string): ProcessId[] | undefined {
    const known = this.#all.get(key);
    if (known === undefined) return undefined;
    known.processes = known.processes.filter((one) => statOf(one) !== undefined);
    if (known.processes.length > 0) return known.processes;
    this.#all.delete(key);
    return undefined;
  }

  #isFull(account: number): boolean {
    if (this.#all.size >= limits.allMax) for (const key of this.#all.keys()) this.#alive(key);
    if (this.#all.size >= limits.allMax) return true;
    const mine = [...this.#all.values()].filter(({ one }) => one.account === account);
    return mine.length >= limits.perUserMax && this.list(account).length >= limits.perUserMax;
  }
}
