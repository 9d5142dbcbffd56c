import { existsSync } from 'node:fs';
import type { Places } from './places.ts';

/** Services that turn knobs of memory or of priorities themselves, and what to know of each. */
const known: Readonly<Record<string, string>> = {
  'memavaild.service': 'it sets memory.high of the same two slices',
  'uresourced.service': "it sets memory.low and memory.min of users' slices",
  'systemd-oomd.service':
    'it ends programs under pressure; limits that are set here are seen by it',
  'ananicy.service': 'it moves programs to other cgroups',
  'ananicy-cpp.service': 'it moves programs to other cgroups',
  'nohang.service': 'it ends programs when memory is short',
  'earlyoom.service': 'it ends programs when memory is short',
};

/** Who else looks after memory here: a remark for each that runs, by its cgroup. */
export function otherManagers({ memory }: Places): string[] {
  if (memory === undefined) return [];
  return Object.entries(known)
    .filter(([name]) => existsSync(`${memory.root}/system.slice/${name}`))
    .map(([name, what]) => `${name} runs: ${what}`);
}
