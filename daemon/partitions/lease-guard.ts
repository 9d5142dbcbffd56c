import type { Paths } from '../config/paths.ts';
import { type AfterDeath, runAfterDeath } from '../kernel/after-death.ts';
import { programFile } from '../kernel/program-files.ts';

/** Sees to it that leases end when this process is killed; where a service manager does, nobody else has to. */
export interface LeaseGuard {
  /** Why nobody would give the knobs back before the next start, or undefined. */
  readonly problem: string | undefined;
  /** Before the first lease. Never throws: without it leases end at the next start. */
  watch(): Promise<void>;
  /** There are no leases any more. */
  callOff(): Promise<void>;
}

/** Starts `personad --restore` when this process has ended. */
export function restoreAfterDeath({ root }: Paths): LeaseGuard {
  let waiting: Promise<AfterDeath | undefined> | undefined;
  let problem: string | undefined;
  const start = async (): Promise<AfterDeath | undefined> => {
    try {
      const child = await runAfterDeath({
        file: process.execPath,
        args: ['--no-warnings', programFile('personad'), '--restore'],
        ...(root === undefined ? {} : { env: { PERSONA_ROOT: root } }),
      });
      problem = undefined;
      // Somebody has ended it: the next lease starts another.
      const forget = () => {
        waiting = undefined;
      };
      child.gone.then(forget, forget);
      return child;
    } catch (error) {
      waiting = undefined;
      problem = `nobody gives knobs back before the next start when the daemon is killed: ${error instanceof Error ? error.message : error}`;
      return undefined;
    }
  };
  return {
    get problem() {
      return problem;
    },
    async watch() {
      waiting ??= start();
      await waiting;
    },
    async callOff() {
      await (await waiting)?.callOff();
    },
  };
}
