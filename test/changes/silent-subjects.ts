import type { Json } from '../../daemon/changes/task.ts';
import type { Daemon, Hooks as DaemonHooks } from '../../daemon/wiring.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Asked, keepingNothing, startSilent } from '../support/silent-daemon.ts';
import type { Hooks, Subject } from './machine.ts';

/** The real daemon of a proof: real mounts, real rows, without sockets. */
export const startForProof = (folder: string, hooks: DaemonHooks = {}): Promise<Daemon> =>
  startSilent(folder, hooks, { settings: keepingNothing });

/** A change of that daemon; `observe` tells what it may touch. */
export function silentSubject(
  asked: Asked,
  observe: (daemon: Daemon, folder: string) => Promise<Json>,
  rest: Pick<Subject, 'prepare'> & Partial<Subject>,
  more: DaemonHooks = {},
): Subject {
  return {
    async open(folder, hooks: Hooks) {
      const daemon = await startForProof(folder, { ...hooks, ...more });
      return {
        engine: daemon.engine,
        plan: async () => (await asked(daemon.rooms.methods(daemon.engine), daemon)).plan,
        observe: () => observe(daemon, folder),
        close: () => daemon.stop(),
      };
    },
    cleanUp: unmountBelow,
    ...rest,
  };
}
