import { release } from 'node:os';
import { apiVersion } from '../../ipc/methods/daemon.ts';
import type { Rooms } from '../api/rooms.ts';
import type { Paths } from '../config/paths.ts';
import type { Capabilities } from '../kernel/probe.ts';
import type { Store } from '../store/store.ts';
import { type Collector, collectables, planCollect } from '../system/collect.ts';
import { capabilityPages, stateChecks } from '../system/doctor.ts';
import type { Space } from '../system/space.ts';
import { usageOf } from '../system/usage.ts';

/** What the methods of the system are made from. */
export interface SystemParts {
  paths: Paths;
  store: Store;
  space: Space;
  machine: Capabilities;
  collectors: readonly Collector[];
  degraded: string | undefined;
}

type SystemMethods = Pick<Rooms, 'system.df' | 'system.gc' | 'daemon.doctor'>;

/** The methods about the machine and the state tree. */
export function systemMethods(parts: SystemParts): SystemMethods {
  const { paths, store, space, machine, collectors, degraded } = parts;
  return {
    'system.df': async () => usageOf(paths.state, store, space, await collectables(collectors)),
    'system.gc': async (_, { caller }) => ({ plan: await planCollect(collectors, caller.uid) }),
    'daemon.doctor': async () => ({
      apiVersion,
      kernel: release(),
      capabilities: capabilityPages(machine),
      checks: await stateChecks(paths, space, degraded),
    }),
  };
}
