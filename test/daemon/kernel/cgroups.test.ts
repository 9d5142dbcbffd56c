import test from 'ava';
import {
  createGroup,
  groupId,
  hierarchiesOf,
  knobsFor,
  moveProcess,
  processesOf,
  readKnob,
  removeGroup,
  writeKnob,
} from '../../../daemon/kernel/cgroups.ts';
import { parseMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { memoryHierarchy, memoryNeeds } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';

const grouped = when(test, memoryNeeds);

test('hierarchies of both versions are read from a mount table', (t) => {
  const text = [
    '34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
    '35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
    '36 31 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
    '37 31 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    '38 31 0:35 / /tmp rw - tmpfs cgroup rw',
  ].join('\n');
  t.deepEqual(hierarchiesOf(parseMountinfo(text)), [
    { version: 1, at: '/sys/fs/cgroup/memory', controllers: ['memory'] },
    { version: 1, at: '/sys/fs/cgroup/cpu,cpuacct', controllers: ['cpu', 'cpuacct'] },
    { version: 1, at: '/sys/fs/cgroup/systemd', controllers: [] },
    { version: 2, at: '/sys/fs/cgroup/unified', controllers: [] },
  ]);
});

test('limits become the knobs of each version', (t) => {
  const limits = { memoryHigh: 1000, memoryMax: 'max', cpuPercent: 150, pidsMax: 7 } as const;
  t.deepEqual(knobsFor(2, limits), [
    ['memory.high', '1000'],
    ['memory.max', 'max'],
    ['cpu.max', '150000 100000'],
    ['pids.max', '7'],
  ]);
  t.deepEqual(knobsFor(1, limits), [
    ['memory.soft_limit_in_bytes', '1000'],
    ['memory.limit_in_bytes', '-1'],
    ['cpu.cfs_quota_us', '150000'],
    ['pids.max', '7'],
  ]);
  t.deepEqual(knobsFor(2, { cpuPercent: 'max' }), [['cpu.max', 'max 100000']]);
  t.deepEqual(knobsFor(1, { cpuPercent: 'max' }), [['cpu.cfs_quota_us', '-1']]);
});

test('a knob name cannot leave its group', (t) => {
  t.throws(() => readKnob('/tmp', '../etc/passwd'), { message: /internal error/ });
});

grouped('a group is made, limited, filled, emptied and removed', async (t) => {
  const { at, version } = memoryHierarchy()!;
  const group = `${at}/persona-test-${process.pid}`;
  t.teardown(() => removeGroup(group));
  const id = createGroup(group);
  t.is(createGroup(group), id);
  t.is(groupId(group), id);
  const [knob, value] = knobsFor(version, { memoryMax: 64 << 20 })[0]!;
  await writeKnob(group, knob, value);
  t.is(readKnob(group, knob), value);
  t.is(readKnob(group, 'memory.no_such_knob'), undefined);
  await t.throwsAsync(writeKnob(group, 'memory.no_such_knob', '1'), {
    message: /ENOENT|EACCES|EPERM/,
  });
  const child = partner(t, 'sh', '-c', 'echo ready; read line');
  await child.line();
  await moveProcess(group, child.process.pid ?? 0);
  t.deepEqual(processesOf(group), [child.process.pid ?? 0]);
  t.false(removeGroup(group));
  await moveProcess(at, child.process.pid ?? 0);
  t.true(removeGroup(group));
  t.true(removeGroup(group));
  t.is(groupId(group), undefined);
});
