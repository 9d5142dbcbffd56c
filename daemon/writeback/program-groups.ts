import { processesOf, readHierarchies, readKnob } from '../kernel/cgroups.ts';
import { failedWith } from '../kernel/errno.ts';
import { type FreezeFiles, freezeFilesOf } from '../kernel/freezer.ts';
import { serveFuse } from '../kernel/fuse-servers.ts';
import { mountedFor } from '../kernel/mounted-for.ts';
import { PASSED_MAX } from '../kernel/passed-files.ts';
import { folderOf } from '../kernel/placed-process.ts';
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

/** One of these processes is in one of these groups, or below it. */
export function areIn(groups: readonly ProgramGroup[], pids: readonly number[]): boolean {
  if (pids.length === 0 || groups.length === 0) return false;
  return readHierarchies().some((hierarchy) => {
    const within = groups.filter(
      ({ version, folder }) =>
        version === hierarchy.version && folder.startsWith(`${hierarchy.at}/`),
    );
    if (within.length === 0) return false;
    const folders = pids.map((pid) => `${folderOf(pid, hierarchy)}/`);
    return within.some(({ folder }) => folders.some((one) => one.startsWith(`${folder}/`)));
  });
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
    servesFuse: () => serveFuse(all()),
  };
}
