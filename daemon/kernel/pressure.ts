import { readFileSync } from 'node:fs';
import { failedWith } from './errno.ts';

/** One line of a pressure file: how much time was lost waiting. */
export interface PressureLine {
  /** Shares of the last 10, 60 and 300 s, in percent. They lag some 2 s: judge by differences of `totalUs`. */
  avg10: number;
  avg60: number;
  avg300: number;
  /** Microseconds lost since boot, or since the group was made. */
  totalUs: number;
}

/** Pressure on one resource (Documentation/accounting/psi.rst). */
export interface Pressure {
  /** Time in which some task waited. */
  some: PressureLine;
  /** Time in which all tasks waited; absent for the machine's CPU on older kernels. */
  full?: PressureLine;
}

const LINE =
  /^(some|full) avg10=(\d+\.\d+) avg60=(\d+\.\d+) avg300=(\d+\.\d+) total=(\d{1,20})\s*$/gm;

/** The text of a pressure file, or undefined when it is not one. Pure. */
export function parsePressure(text: string): Pressure | undefined {
  const found: Partial<Pressure> = {};
  for (const [, kind, avg10, avg60, avg300, total] of text.matchAll(LINE))
    found[kind as 'some' | 'full'] = {
      avg10: Number(avg10),
      avg60: Number(avg60),
      avg300: Number(avg300),
      totalUs: Number(total),
    };
  const { some, full } = found;
  if (some === undefined) return undefined;
  return full === undefined ? { some } : { some, full };
}

/** Kernels without PSI have no such file; with psi=0 reading it fails; a group may vanish between two reads. */
const ABSENT = ['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTDIR'];

/** The pressure file at `path`; undefined where the kernel keeps none, or its group has ended. */
export function readPressure(path: string): Pressure | undefined {
  try {
    return parsePressure(readFileSync(path, 'latin1'));
  } catch (error) {
    if (failedWith(error, ...ABSENT)) return undefined;
    throw error;
  }
}
