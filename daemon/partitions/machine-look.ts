import { groupId, readKnob } from '../kernel/cgroups.ts';
import { readGroupMemory } from '../kernel/group-memory.ts';
import { KeptFile } from '../kernel/kept-file.ts';
import { readMeminfo } from '../kernel/meminfo.ts';
import { type Pressure, parsePressure, readPressure } from '../kernel/pressure.ts';
import { type Knob, knobAmount, knobFile } from './knobs.ts';
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
  const waited = (file: string) =>
    pressureRoot === undefined
      ? undefined
      : lostTime(readPressure(`${pressureRoot}/${places.groups[side]}/${file}`));
  const [pressure, ioPressure] = [waited('memory.pressure'), waited('io.pressure')];
  const hard = memory.version === 1;
  const amount = (knob: Knob) => knobAmount(readKnob(folder, knobFile(memory.version, knob)) ?? '');
  const low = hard ? undefined : amount('memory.low');
  const high = hard && places.hardLimits !== true ? undefined : amount('memory.high');
  return {
    ...seen,
    group: String(id),
    ...(pressure && { pressure }),
    ...(ioPressure && { ioPressure }),
    ...(low === undefined ? {} : { low }),
    ...(high === undefined ? {} : { high }),
    ...(hard && { hard }),
  };
}

/** All of the machine that decisions are made from: some fourteen small files, no program. */
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

/** Far more than the lines that are looked at take. */
const headBytes = 512;
/** The first lines of /proc/meminfo; MemFree stands between them. */
const total = /^MemTotal: +(\d{1,12}) kB$/m;
const available = /^MemAvailable: +(\d{1,12}) kB$/m;

/** Opens what glances look at, until `close`. */
export function openGlance(files: MachineFiles = machineFiles): {
  glance(): Glance;
  close(): void;
} {
  const meminfo = new KeptFile(files.meminfo, headBytes);
  const pressure = keptPressure(files.pressure);
  const glance = (): Glance => {
    const text = meminfo.read();
    const [, totalKib] = total.exec(text) ?? [];
    const [, availableKib] = available.exec(text) ?? [];
    if (totalKib === undefined || availableKib === undefined)
      throw new Error(`cannot read the machine's memory: ${files.meminfo} lacks a field`);
    const someUs = pressure && parsePressure(pressure.read())?.some.totalUs;
    return {
      totalBytes: Number(totalKib) * 1024,
      availableBytes: Number(availableKib) * 1024,
      ...(someUs === undefined ? {} : { someUs }),
    };
  };
  const close = () => {
    meminfo.close();
    pressure?.close();
  };
  return { glance, close };
}

/** Undefined where the kernel keeps no pressure. */
function keptPressure(path: string): KeptFile | undefined {
  return readPressure(path) === undefined ? undefined : new KeptFile(path, headBytes);
}
