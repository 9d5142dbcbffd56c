import { readFileSync } from 'node:fs';

/**
 * What a text like /proc/PID/status says behind `name`; undefined when it has no such line. A process chooses its own name, and
 * only a line feed in it is escaped: nothing else may count as the end of a line. Pure.
 */
export function statusField(text: string, name: string): string | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

/** The same of a running process. Throws when it has ended. */
export const readStatusField = (pid: number, name: string): string | undefined =>
  statusField(readFileSync(`/proc/${pid}/status`, 'latin1'), name);
