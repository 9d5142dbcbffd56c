import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import test from 'ava';
import { readHierarchies } from '../../../daemon/kernel/cgroups.ts';
import { childGroup, removeOrphanGroups } from '../../../daemon/kernel/child-group.ts';
import { unifiedGroup } from '../../../daemon/kernel/delegated-group.ts';
import { when } from '../../support/needs.ts';

test('the group of a process in the hierarchy of version 2', (t) => {
  t.is(unifiedGroup('0::/personad.slice/personad.service\n'), '/personad.slice/personad.service');
  t.is(unifiedGroup('4:memory:/x\n0::/\n'), '/');
  t.is(unifiedGroup('4:memory:/x\n'), undefined);
  // Whoever has a part of the hierarchy names groups there as they like.
  for (const end of ['\r', '\u2028'])
    t.is(unifiedGroup(`4:memory:/x${end}0::/y\n0::/z${end}0::/y\n`), `/z${end}0::/y`);
});

const unified = () => readHierarchies().find(({ version }) => version === 2)?.at;
const needs = {
  root: true,
  other: () => (unified() === undefined ? 'cgroup version 2 is not mounted' : undefined),
};

when(test, needs)('groups of daemons that were killed are removed, others stay', async (t) => {
  const alive = await childGroup('alive', { memoryBytes: 1 << 30, processes: 8 });
  t.teardown(() => alive.end());
  // No process has this number: it is above pid_max of every Linux.
  const orphan = `${unified()}/personad-children/dead-4194305-0123abcd`;
  mkdirSync(orphan);
  t.teardown(() => {
    try {
      rmdirSync(orphan);
    } catch {
      // Removed, as it should be.
    }
  });
  const removed = removeOrphanGroups();
  // By this call, or by that of another test or daemon of this machine that came first.
  t.false(existsSync(orphan));
  t.false(removed.some((group) => alive.folders.includes(group)));
});
