import { readFileSync } from 'node:fs';

/** The machine's memory, in bytes. It may grow and shrink while the machine runs. */
export interface MemoryInfo {
  totalBytes: number;
  freeBytes: number;
  /** What could be had without swapping, as the kernel estimates. */
  availableBytes: number;
  swapTotalBytes: number;
  swapFreeBytes: number;
}

/** Names of /proc/meminfo (Documentation/filesystems/proc.rst); values there are KiB. */
const FIELDS = {
  MemTotal: 'totalBytes',
  MemFree: 'freeBytes',
  MemAvailable: 'availableBytes',
  SwapTotal: 'swapTotalBytes',
  SwapFree: 'swapFreeBytes',
} as const;

/** The text of /proc/meminfo, or undefined when a field is missing. Pure. */
export function parseMeminfo(text: string): MemoryInfo | undefined {
  const found: Partial<Record<(typeof FIELDS)[keyof typeof FIELDS], number>> = {};
  for (const [, name = '', kib] of text.matchAll(/^(\w+): +(\d{1,12}) kB$/gm))
    if (Object.hasOwn(FIELDS, name))
      found[FIELDS[name as keyof typeof FIELDS]] = Number(kib) * 1024;
  const { totalBytes, freeBytes, availableBytes, swapTotalBytes = 0, swapFreeBytes = 0 } = found;
  if (totalBytes === undefined || freeBytes === undefined || availableBytes === undefined)
    return undefined;
  return { totalBytes, freeBytes, availableBytes, swapTotalBytes, swapFreeBytes };
}

/** The machine's memory now. Throws when /proc has no such file. */
export function readMeminfo(path = '/proc/meminfo'): MemoryInfo {
  const info = parseMeminfo(readFileSync(path, 'latin1'));
  if (info === undefined)
    throw new Error(`cannot read the machine's memory: ${path} lacks a field`);
  return info;
}
