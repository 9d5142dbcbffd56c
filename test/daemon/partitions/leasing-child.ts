// A process with leases and the guard of a daemon that no service manager started. Arguments: the folder of the private tree,
// the hierarchy, the group, the native guard if there is one. Each line of its input is an order, answered by a line.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathsOf, statePlaces } from '../../../daemon/config/paths.ts';
import { lockFile } from '../../../daemon/kernel/files.ts';
import { guardLeases } from '../../../daemon/partitions/lease-guard.ts';
import { openLeases } from '../../../daemon/partitions/restore.ts';

const [root = '', at = '', group = '', native] = process.argv.slice(2);
const paths = pathsOf(root);
for (const folder of [paths.run, paths.state]) mkdirSync(folder, { recursive: true });
const lock = await lockFile(join(paths.state, statePlaces.lock));
const guard = guardLeases({ paths, native });
const leases = openLeases(paths.run, guard);
const place = { root: at, version: 1, controller: 'memory', group } as const;

const orders: Record<string, (value: string) => Promise<unknown>> = {
  soft: (value) => leases.set({ ...place, knob: 'memory.soft_limit_in_bytes' }, value),
  hard: (value) => leases.set({ ...place, knob: 'memory.limit_in_bytes' }, value),
  release: () => leases.releaseAll(),
};
for await (const line of createInterface({ input: process.stdin })) {
  const [order = '', value = ''] = line.split(' ');
  console.log(JSON.stringify({ answer: await orders[order]?.(value), problem: guard.problem }));
}
lock?.close();
