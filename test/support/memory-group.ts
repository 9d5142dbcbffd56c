import { type Hierarchy, readHierarchies } from '../../daemon/kernel/cgroups.ts';
import type { Needs } from './needs.ts';

/** The hierarchy of this machine that has the memory controller, if it is of this version (any, unless said). */
export function memoryHierarchy(wanted?: 1 | 2): Hierarchy | undefined {
  return readHierarchies().find(
    ({ version, controllers }) =>
      controllers.includes('memory') && (wanted === undefined || version === wanted),
  );
}

/** What a test needs that makes a group for memory of its own. */
export const memoryNeeds: Needs = {
  root: true,
  other: () => (memoryHierarchy() ? undefined : 'needs a hierarchy with the memory controller'),
};

/** The same with hard limits: cgroup version 1. */
export const memory1Needs: Needs = {
  root: true,
  other: () => (memoryHierarchy(1) ? undefined : 'needs the memory controller of cgroup version 1'),
};
