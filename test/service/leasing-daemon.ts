// Runs in the daemon's unit: takes leases on knobs in plain files, as the daemon does in a service, and waits for its end.
import { pathsOf } from '../../daemon/config/paths.ts';
import { useDelegatedGroup } from '../../daemon/kernel/delegated-group.ts';
import { nativeProgram } from '../../daemon/kernel/program-files.ts';
import { guardLeases } from '../../daemon/partitions/lease-guard.ts';
import { openLeases } from '../../daemon/partitions/restore.ts';

const [, , root = '', ...groups] = process.argv;
await useDelegatedGroup();
const paths = pathsOf(undefined);
const guard = guardLeases({ paths, service: true, native: nativeProgram('lease-guard') });
const leases = openLeases(paths.run, guard);
const knob = { root, version: 2, controller: 'memory', knob: 'memory.low' } as const;
for (const group of groups) await leases.set({ ...knob, group }, '8192');
console.log(`leased ${leases.all().length}, problem: ${guard.problem ?? 'none'}`);
setInterval(() => undefined, 60_000);
