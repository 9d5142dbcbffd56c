import { groupId, readKnob } from '../kernel/cgroups.ts';
import { parseAmount, readGroupMemory } from '../kernel/group-memory.ts';
import { readMeminfo } from '../kernel/meminfo.ts';
import { type Pressure, readPressure } from '../kernel/pressure.ts';
import type { LostTime, Observation, Side, SideObservation } from './observation.ts';
import type { Places } from './places.ts';

/** Files of the machine; tests have their own. */
export interface MachineFiles {
  meminfo: string;
  pressure: string;
}

export const machineFiles: MachineFiles = {
  meminfo: '/proc/meminfo',
  pressure: '/proc/pressure/memory',
};

/** The kernel counts in microseconds already; the shares it computes lag and are left out. */
function lostTime(pressure: Pressure | undefined): LostTime | undefined {
  if (pressure === undefined) return undefined;
  const { some, full } = pressure;
  return { someUs: some.totalUs, ...(full && { fullUs: full.totalUs }) };
}

/** A side now; absent when its group is not there. */
function lookAtSide(places: Places, side: Side): SideObservation | undefined {
  const { memory, pressureRoot } = places;
  if (memory === undefined) return undefined;
  const folder = `${memory.root}/${places.groups[side]}`;
  const id = groupId(folder);
  const seen = id === undefined ? undefined : readGroupMemory(folder, memory.version);
  if (id === undefined || seen === undefined) return undefined;
  const file = `${pressureRoot}/${places.groups[side]}/memory.pressure`;
  const pressure = pressureRoot === undefined ? undefined : lostTime(readPressure(file));
  const [low, high] =
    memory.version === 1
      ? []
      : ['memory.low', 'memory.high'].map((knob) => parseAmount(readKnob(folder, knob) ?? ''));
  return {
    ...seen,
    group: String(id),
    ...(pressure && { pressure }),
    ...(low === undefined ? {} : { low }),
    ...(high === undefined ? {} : { high }),
  };
}

/** All of the machine that decisions are made from: some twelve small files, no program. */
export function lookAtMachine(
  places: Places,
  atMs: number,
  files: MachineFiles = machineFiles,
): Observation {
  const { totalBytes, availableBytes, swapTotalBytes, swapFreeBytes } = readMeminfo(files.meminfo);
  const pressure = lostTime(readPressure(files.pressure));
  const user = lookAtSide(places, 'user');
  const system = lookAtSide(places, 'system');
  return {
    atMs,
    totalBytes,
    availableBytes,
    swapTotalBytes,
    swapFreeBytes,
    ...(pressure && { pressure }),
    sides: { ...(user && { user }), ...(system && { system }) },
  };
}

/** What is looked at every second: is there anything to see? Two files. */
export interface Glance {
  availableBytes: number;
  totalBytes: number;
  /** Of the whole machine: as long as it stands, no group has waited either. Absent without PSI. */
  someUs?: number;
}

export function glanceAtMachine(files: MachineFiles = machineFiles): Glance {
  const { totalBytes, availableBytes } = readMeminfo(files.meminfo);
  const someUs = readPressure(files.pressure)?.some.totalUs;
  return { totalBytes, availableBytes, ...(someUs === undefined ? {} : { someUs }) };
}
