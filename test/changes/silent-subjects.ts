import type { Json } from '../../daemon/changes/task.ts';
import { settingsOf } from '../../daemon/config/settings.ts';
import type { Daemon, Hooks as DaemonHooks } from '../../daemon/wiring.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Asked, startSilent } from '../support/silent-daemon.ts';
import type { Hooks, Subject } from './machine.ts';

/** No space is kept, so that what is free does not matter, and no generation but what is active. */
const settings = settingsOf([
  { key: 'space.reserve', value: 0, origin: 'proofs:1' },
  { key: 'space.keep_free', value: 0, origin: 'proofs:2' },
  { key: 'space.keep_free_percent', value: 0, origin: 'proofs:3' },
  { key: 'slots.keep_generations', value: 0, origin: 'proofs:4' },
]);

/** The real daemon of a proof: real mounts, real rows, without sockets. */
export const startForProof = (folder: string, hooks: DaemonHooks = {}): Promise<Daemon> =>
  startSilent(folder, hooks, { settings });

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
