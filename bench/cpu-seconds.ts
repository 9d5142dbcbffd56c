import { readdirSync, readFileSync } from 'node:fs';

/**
 * Processor seconds that the threads of a process have used, to the nanosecond (`schedstat` of proc(5)): an idle daemon uses less in
 * half a minute than a few of the ticks in which `stat` counts. Threads that have ended are left out; the daemon keeps its own.
 */
export function cpuSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return secondsOf(threads.map((id) => readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8')));
}

/** The same of the texts themselves, one of each thread. Pure. */
export const secondsOf = (threads: readonly string[]): number =>
  threads.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0) / 1e9;
