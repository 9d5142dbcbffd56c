import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Paths, statePlaces } from '../config/paths.ts';
import { type AfterDeath, runAfterDeath } from '../kernel/after-death.ts';
import { readHierarchies } from '../kernel/cgroups.ts';
import { bootId } from '../kernel/clock.ts';
import { findProgram } from '../kernel/probe-host.ts';
import { processStat } from '../kernel/processes.ts';
import { programFile } from '../kernel/program-files.ts';
import { placeInScope } from '../kernel/scope-unit.ts';
import type { Lease } from './lease.ts';
import { leaseLines } from './lease-lines.ts';

/** Sees to it that leases end when this process is killed. */
export interface LeaseGuard {
  /** Why knobs would go back late, or only at the next start; or undefined. */
  readonly problem: string | undefined;
  /** Before the first lease. Never throws: without it leases end later. */
  watch(): Promise<void>;
  /** These leases are in force, or about to be: told before a knob is written. Never throws. */
  know(leases: readonly Lease[]): Promise<void>;
  /** There are no leases any more. */
  callOff(): Promise<void>;
}

/** How a guard is made. */
export interface GuardParts {
  paths: Paths;
  /** A service manager runs `--restore` after every end of this process. */
  service?: boolean;
  /** Where the native guard lies if it was built. */
  native?: string | undefined;
}

/** The daemon's own slice: whatever ends a service as a whole ends the unit of it only. */
const slice = 'personad.slice';

const saying = (error: unknown): string => (error instanceof Error ? error.message : `${error}`);

/** The command that waits for the end of this process. */
function waiter({ paths, service, native }: GuardParts): string[] | undefined {
  const restore = [process.execPath, '--no-warnings', programFile('personad'), '--restore'];
  const after = service === true ? [] : restore;
  if (native !== undefined) return [native, join(paths.state, statePlaces.lock), ...after];
  if (service === true) return undefined;
  const xargs = findProgram('xargs');
  if (xargs === undefined) throw new Error('xargs is not installed (package findutils)');
  return [xargs, ...restore];
}

/** systemd ends all of the service's group before it lets anything follow: the guard gets a unit of its own. */
async function leaveService(pid: number): Promise<void> {
  const hierarchy = readHierarchies().find(({ version }) => version === 2);
  const stat = processStat(pid);
  if (hierarchy === undefined || stat === undefined) return;
  const name = `personad-guard-${pid}.scope`;
  const description = 'personad: gives knobs back when the daemon is killed';
  await placeInScope({ name, slice, description, weights: {} }, hierarchy, stat);
}

/** Starts a guard with the first lease, and tells it of each. */
export function guardLeases(parts: GuardParts): LeaseGuard {
  const { paths, service = false } = parts;
  const { root } = paths;
  const native = parts.native !== undefined && existsSync(parts.native) ? parts.native : undefined;
  const boot = bootId();
  let waiting: Promise<AfterDeath | undefined> | undefined;
  let problem: string | undefined;
  const start = async (): Promise<AfterDeath | undefined> => {
    try {
      const [file, ...args] = waiter({ paths, service, native }) ?? [];
      if (file === undefined) return undefined;
      const env = root === undefined ? {} : { env: { PERSONA_ROOT: root } };
      const child = await runAfterDeath({ file, args, ...env });
      // Somebody has ended it: the next lease starts another.
      const forget = () => {
        waiting = undefined;
      };
      child.gone.then(forget, forget);
      problem = undefined;
      if (service)
        await leaveService(child.pid).catch((error: unknown) => {
          problem = `knobs may go back late when the daemon is killed: ${saying(error)}`;
        });
      return child;
    } catch (error) {
      waiting = undefined;
      problem = service
        ? `knobs go back late when the daemon is killed: ${saying(error)}`
        : `nobody gives knobs back before the next start when the daemon is killed: ${saying(error)}`;
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
    async know(leases) {
      const child = await waiting;
      if (native !== undefined) await child?.tell(leaseLines(leases, boot));
    },
    async callOff() {
      await (await waiting)?.callOff();
    },
  };
}
