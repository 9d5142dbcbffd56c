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

/** A service of the machine runs, by its cgroup. */
export const runsHere = ({ memory }: Pick<Places, 'memory'>, service: string): boolean =>
  memory !== undefined && existsSync(`${memory.root}/system.slice/${service}`);

/** Who else looks after memory here: a remark for each that runs. */
export function otherManagers(places: Pick<Places, 'memory'>): string[] {
  return Object.entries(known)
    .filter(([name]) => runsHere(places, name))
    .map(([name, what]) => `${name} runs: ${what}`);
}
