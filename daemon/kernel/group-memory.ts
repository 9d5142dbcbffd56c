import { readFileSync } from 'node:fs';
import { failedWith } from './errno.ts';

/** Memory of one cgroup with all below it. Bytes; absent: this kernel or hierarchy does not tell. */
export interface GroupMemory {
  currentBytes: number;
  /** Memory of processes, and of shared memory and tmpfs: it leaves only to swap. */
  anonBytes?: number;
  /** Page cache that can be dropped or written back. */
  fileBytes?: number;
  /** tmpfs and shared memory: part of the page cache, but not to be dropped. */
  shmemBytes?: number;
  inactiveFileBytes?: number;
  swapBytes?: number;
  /** Pages that were wanted again soon after they had been taken away, since the group was made. */
  refaults?: number;
  /** Those of them that belong to the working set, as the kernel judges: they came back sooner than others leave. */
  activations?: number;
  majorFaults?: number;
  /** How often the group was held back at `memory.high` since it was made. */
  highEvents?: number;
}

/** A number of a cgroup file: digits, or `max`. Undefined for anything else. Pure. */
export function parseAmount(text: string): number | 'max' | undefined {
  const word = text.trim();
  if (word === 'max') return 'max';
  return /^\d{1,20}$/.test(word) ? Number(word) : undefined;
}

/** `name value` lines. What is not so is left out. Pure. */
export function parseCounters(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, name = '', value] of text.matchAll(/^(\w+) (\d{1,20})$/gm))
    found.set(name, Number(value));
  return found;
}

/** Without the fields that are not known. */
function known<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
}

const sum = (...values: (number | undefined)[]): number | undefined => {
  const there = values.filter((value) => value !== undefined);
  return there.length === 0 ? undefined : there.reduce((all, one) => all + one, 0);
};

/** The fields of memory.stat, by version: version 1 counts what is below a group in `total_` fields. Pure. */
export function statFields(
  version: 1 | 2,
  stat: ReadonlyMap<string, number>,
): Omit<GroupMemory, 'currentBytes'> {
  const get = (name: string) => stat.get(version === 1 ? `total_${name}` : name);
  return known({
    anonBytes: version === 1 ? get('rss') : get('anon'),
    fileBytes: version === 1 ? get('cache') : get('file'),
    shmemBytes: get('shmem'),
    inactiveFileBytes: get('inactive_file'),
    swapBytes: version === 1 ? get('swap') : undefined,
    refaults: sum(get('workingset_refault_anon'), get('workingset_refault_file')),
    activations: sum(get('workingset_activate_anon'), get('workingset_activate_file')),
    majorFaults: get('pgmajfault'),
  });
}

/** A group that has gone answers ENOENT by path and ENODEV by an open file; both are normal. */
const GONE = ['ENOENT', 'ENODEV', 'ENOTDIR'];

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (failedWith(error, ...GONE, 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

const FILES = {
  1: { current: 'memory.usage_in_bytes', swap: undefined },
  2: { current: 'memory.current', swap: 'memory.swap.current' },
} as const;

/**
 * The memory of the group at `folder`; undefined when it is not there, or has no memory controller. The version 2 root
 * group does not tell its own `memory.current`: it has none either.
 */
export function readGroupMemory(folder: string, version: 1 | 2): GroupMemory | undefined {
  const files = FILES[version];
  const current = parseAmount(textOf(`${folder}/${files.current}`) ?? '');
  if (typeof current !== 'number') return undefined;
  const stat = statFields(version, parseCounters(textOf(`${folder}/memory.stat`) ?? ''));
  const swap = files.swap ? parseAmount(textOf(`${folder}/${files.swap}`) ?? '') : undefined;
  const events = version === 2 ? parseCounters(textOf(`${folder}/memory.events`) ?? '') : undefined;
  return {
    ...stat,
    ...known({
      swapBytes: typeof swap === 'number' ? swap : stat.swapBytes,
      highEvents: events?.get('high'),
    }),
    currentBytes: current,
  };
}
