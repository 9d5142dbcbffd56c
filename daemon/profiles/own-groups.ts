import { randomBytes } from 'node:crypto';
import { groupId, type Hierarchy, readKnob, writeKnob } from '../kernel/cgroups.ts';
import {
  dropGroup,
  groupOf,
  groupsIn,
  makeGroups,
  placeProcess,
} from '../kernel/placed-process.ts';
import type { Weights } from '../kernel/scope-unit.ts';
import type { LaunchGroup, LaunchGroups } from './launch-groups.ts';

const ofUser = /^personad-user-(\d{1,10})$/;
const ofLaunch = /^app-(.+)-[0-9a-f]{12}$/;

/** Knobs of version 2 that stand for what a group is to have. */
function knobsOf({ cpuWeight, ioWeight, memoryLow }: Weights): [knob: string, value: string][] {
  const all: [string, number | undefined][] = [
    ['cpu.weight', cpuWeight],
    ['io.weight', ioWeight],
    ['memory.low', memoryLow],
  ];
  return all.flatMap(([knob, value]) => (value === undefined ? [] : [[knob, `${value}`]]));
}

/**
 * Groups that the daemon makes itself, where no service manager does: `SIDE/personad-user-UID/app-ID-NUMBER`. They have weights
 * where the hierarchy gives them the controllers.
 */
export function ownGroups(hierarchy: Hierarchy | undefined, side: string): LaunchGroups {
  const folder = (group: string): string => `${hierarchy?.at ?? ''}/${group}`;
  const obstacle = (): string | undefined => {
    if (hierarchy === undefined) return 'no cgroup hierarchy is mounted';
    return groupId(folder(side)) === undefined ? `there is no cgroup ${side}` : undefined;
  };
  return {
    obstacle,
    folder,
    of: (pid) => groupOf(pid, hierarchy),
    refusal: () => undefined,
    keeps: () => undefined,
    name: (app, account) =>
      `${side}/personad-user-${account}/app-${app}-${randomBytes(6).toString('hex')}`,
    async put(group, process, weights) {
      if (hierarchy === undefined) return false;
      await makeGroups(folder(group));
      for (const [knob, value] of knobsOf(weights))
        if (readKnob(folder(group), knob) !== undefined)
          await writeKnob(folder(group), knob, value);
      return await placeProcess(folder(group), hierarchy, process);
    },
    async drop(group) {
      if (!(await dropGroup(folder(group)))) return false;
      // That of the user, when nothing else is in it.
      await dropGroup(folder(group.slice(0, group.lastIndexOf('/'))));
      return true;
    },
    async found() {
      const all: LaunchGroup[] = [];
      for (const user of await groupsIn(folder(side))) {
        const account = Number(ofUser.exec(user)?.[1] ?? Number.NaN);
        if (Number.isNaN(account)) continue;
        for (const leaf of await groupsIn(folder(`${side}/${user}`))) {
          const app = ofLaunch.exec(leaf)?.[1];
          if (app !== undefined) all.push({ group: `${side}/${user}/${leaf}`, account, app });
        }
      }
      return all;
    },
  };
}
