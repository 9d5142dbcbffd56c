import { release } from 'node:os';
import { apiVersion } from '../../ipc/methods/daemon.ts';
import type { Rooms } from '../api/rooms.ts';
import type { Paths } from '../config/paths.ts';
import { memoryProtection } from '../kernel/assurances.ts';
import { wallMs } from '../kernel/clock.ts';
import { readInventory } from '../kernel/inventory.ts';
import type { Capabilities } from '../kernel/probe.ts';
import type { Store } from '../store/store.ts';
import { type Collector, collectables, planCollect } from '../system/collect.ts';
import { type Check, capabilityPages, protectionCheck, stateChecks } from '../system/doctor.ts';
import { inventoryOf } from '../system/inventory.ts';
import type { Space } from '../system/space.ts';
import type { UpperPlace } from '../system/upper-volume.ts';
import { type Usage, usageOf, type VolumesUsed } from '../system/usage.ts';

/** What the methods of the system are made from. */
export interface SystemParts {
  paths: Paths;
  store: Store;
  space: Space;
  machine: Capabilities;
  uppers: UpperPlace;
  collectors: readonly Collector[];
  volumes(): VolumesUsed;
  /** Why the database cannot be used. */
  lost: string | undefined;
  /** What other rooms have looked at. */
  moreChecks(): Promise<Check[]>;
}

type SystemMethods = Pick<Rooms, 'system.df' | 'system.gc' | 'system.inventory' | 'daemon.doctor'>;

/** The methods about the machine and the state tree. */
export function systemMethods(parts: SystemParts): SystemMethods {
  const { paths, store, space, machine, uppers, collectors, lost } = parts;
  // It walks everything that programs wrote, and every user may ask: all who ask meanwhile share one walk.
  let counting: Promise<Usage> | undefined;
  const usage = async (): Promise<Usage> =>
    usageOf(paths.state, store, space, await collectables(collectors), uppers, parts.volumes());
  const inventory = inventoryOf({ read: readInventory, now: wallMs });
  return {
    'system.inventory': () => inventory(),
    'system.df': () => {
      counting ??= usage().finally(() => {
        counting = undefined;
      });
      return counting;
    },
    'system.gc': async (_, { caller }) => ({ plan: await planCollect(collectors, caller.uid) }),
    'daemon.doctor': async () => ({
      apiVersion,
      kernel: release(),
      capabilities: capabilityPages(machine),
      checks: [
        ...(await stateChecks(paths, space, lost, uppers)),
        protectionCheck(memoryProtection()),
        ...(await parts.moreChecks()),
      ],
    }),
  };
}
