/**
 * A program: kills each bwrap that its parent has started, at the moment at which that has a child itself, as long as
 * the parent lives. Its argument is the parent's pid. Prints a line when it begins.
 */
import { readFileSync } from 'node:fs';

const [, , parent = ''] = process.argv;
const childrenOf = (pid: string): string[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  } catch {
    return []; // it has ended
  }
};
const isLauncher = (pid: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/usr/bin/bwrap\0');
  } catch {
    return false;
  }
};

const killed = new Set<string>();
// Busy on purpose: the moment is some ten microseconds long.
process.stdout.write('ready\n');
while (process.ppid === Number(parent))
  for (const child of childrenOf(parent)) {
    if (killed.has(child) || childrenOf(child).length === 0 || !isLauncher(child)) continue;
    process.kill(Number(child), 'SIGKILL');
    killed.add(child);
  }
