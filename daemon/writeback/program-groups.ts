import { processesOf, readKnob } from '../kernel/cgroups.ts';
import { failedWith } from '../kernel/errno.ts';
import { type FreezeFiles, freezeFilesOf } from '../kernel/freezer.ts';
import { mountedFor } from '../kernel/mounted-for.ts';
import { PASSED_MAX } from '../kernel/passed-files.ts';
import { type ProcessId, statOf } from '../kernel/processes.ts';
import { sharedMappings } from '../kernel/shared-maps.ts';
import type { Running } from './sync.ts';

/** A control group of an instance of an application. */
export interface ProgramGroup {
  version: 1 | 2;
  folder: string;
  /** Processes in it can be stopped. */
  freezable: boolean;
}

const membersOf = (folder: string): number[] => {
  try {
    return processesOf(folder);
  } catch (error) {
    if (failedWith(error, 'ENODEV')) return [];
    throw error;
  }
};

/** True while a process is in it; one that has gone has none. */
export function isPopulated({ version, folder }: ProgramGroup): boolean {
  const events = version === 2 ? readKnob(folder, 'cgroup.events') : undefined;
  return events === undefined ? membersOf(folder).length > 0 : /^populated 1$/m.test(events);
}

/** More are not stopped together. */
const STOPPED_MAX = PASSED_MAX / 2;

/** The files of those that can be stopped. */
export const freezableOf = (groups: readonly ProgramGroup[]): FreezeFiles[] =>
  groups
    .filter(({ freezable }) => freezable)
    .map(({ version, folder }) => freezeFilesOf(version, folder));

/** The files by which all of these are stopped; undefined where one would go on. */
export function freezeOf(groups: readonly ProgramGroup[]): FreezeFiles[] | undefined {
  const stops = freezableOf(groups);
  return groups.length > STOPPED_MAX || stops.length < groups.length ? undefined : stops;
}

/** The very process has not ended. */
export const isThere = (process: ProcessId): boolean => statOf(process) !== undefined;

/**
 * Processes that work on the file system `device`, of `owner`, and are in none of these groups: desktops put what a program starts into groups of their
 * own, and it goes on after the program.
 */
export async function straysOf(
  groups: readonly ProgramGroup[],
  device: string,
  owner: number,
): Promise<ProcessId[]> {
  const found = await mountedFor(device, owner);
  const members = new Set(groups.flatMap(({ folder }) => membersOf(folder)));
  // What has ended between the two looks is in no group either.
  return found.filter((one) => !members.has(one.pid) && isThere(one));
}

/** What runs in these groups, and besides, with the files of the file system `device` that it has mapped. */
export function runningIn(
  groups: readonly ProgramGroup[],
  strays: readonly ProcessId[],
  device: string,
  freezable: boolean,
): Running {
  const all = () => [
    ...groups.flatMap(({ folder }) => membersOf(folder)),
    ...strays.map(({ pid }) => pid),
  ];
  return {
    populated: groups.length + strays.length > 0,
    freezable,
    mapped: () => sharedMappings(all(), device),
  };
}
