import { readFileSync } from 'node:fs';
import { groupIn, type Hierarchy, readHierarchies } from '../kernel/cgroups.ts';
import { readMountinfo } from '../kernel/mountinfo.ts';
import type { Side } from './observation.ts';

/** Where the sides of this machine are. */
export interface Places {
  /** Paths below the hierarchy. */
  groups: Record<Side, string>;
  /** The hierarchy with the memory controller; absent: a side's memory cannot be told. */
  memory?: { root: string; version: 1 | 2 };
  /** The hierarchy with the io controller; of version 2 only. */
  io?: { root: string };
  /** The limits of version 1 may be set. They are hard ones. */
  hardLimits?: boolean;
  /** Where groups tell their pressure: the hierarchy of version 2, also without controllers. */
  pressureRoot?: string;
  /** A side's protection reaches the groups below it by itself (mount option memory_recursiveprot). */
  recursive: boolean;
  /** The group of this process in the memory hierarchy. */
  own?: string;
}

/** The hierarchy whose memory controller can be used: version 2 before version 1. Pure. */
export function memoryHierarchy(all: readonly Hierarchy[]): Hierarchy | undefined {
  const able = all.filter(({ controllers }) => controllers.includes('memory'));
  return able.find(({ version }) => version === 2) ?? able[0];
}

/** Finds the hierarchies of this machine. They do not change while it runs; groups come and go. */
export function findPlaces(groups: Record<Side, string>, hardLimits = false): Places {
  const all = readHierarchies();
  const memory = memoryHierarchy(all);
  const unified = all.find(({ version }) => version === 2);
  const mount = readMountinfo().find(({ at, type }) => type === 'cgroup2' && at === unified?.at);
  const text = readFileSync('/proc/self/cgroup', 'utf8');
  const own = memory && groupIn(text, { ...memory, controllers: ['memory'] });
  return {
    groups,
    hardLimits,
    recursive: mount?.superOptions.includes('memory_recursiveprot') ?? false,
    ...(memory && { memory: { root: memory.at, version: memory.version } }),
    ...(unified && { pressureRoot: unified.at }),
    ...(unified?.controllers.includes('io') && { io: { root: unified.at } }),
    ...(own === undefined ? {} : { own }),
  };
}

/**
 * Why nothing of this machine's memory may be turned, or undefined. A limit on a group that the daemon itself is in could
 * stall the one who has to take it off again (SECURITY 17).
 */
export function notManageable({ memory, groups, own, hardLimits }: Places): string | undefined {
  if (memory === undefined) return 'no cgroup hierarchy with the memory controller is mounted';
  if (memory.version === 1 && hardLimits !== true)
    return 'the memory controller is of cgroup version 1, which has hard limits only: memory is observed, not managed, unless partitions.hard_limits = "on"';
  const { user, system } = groups;
  if (`${user}/`.startsWith(`${system}/`) || `${system}/`.startsWith(`${user}/`))
    return `one side is inside the other: ${user} and ${system}`;
  const above = Object.values(groups).find((group) => `${own}/`.startsWith(`/${group}/`));
  if (above !== undefined) return `the daemon itself runs in ${above}: start it as a service`;
  return undefined;
}
