import type { ExecutionContext } from 'ava';
import type { Machine } from '../../../scripts/machine/machine.ts';
import { until } from './slots.ts';

/** Nothing that ended has left anything: mounts, loop devices, groups, temporary files. */
export async function expectNoRemains(
  t: ExecutionContext,
  vm: Machine,
  trees: number,
): Promise<void> {
  let mounts = '';
  let overlays: string[] = [];
  // Where a slot is a link the old tree is taken off a moment later.
  await until(`${trees} trees are shown`, async () => {
    mounts = await vm.must('cat /proc/1/mountinfo');
    overlays = mounts.split('\n').filter((line) => line.includes(' - overlay persona:'));
    return overlays.length === trees;
  });
  for (const line of overlays) t.regex(line, /nosuid,nodev/);
  // This kernel joins only layers that are attached somewhere: where nobody but root passes.
  const layers = mounts.split('\n').filter((line) => line.includes(' - erofs '));
  t.is(new Set(layers.map((line) => line.split(' ')[4])).size, layers.length, 'each layer once');
  for (const line of layers) t.regex(line, / \/run\/persona\/layers\/\S+ ro,nosuid,nodev/);
  t.is(await vm.must('stat -c %a /run/persona/layers'), '700\n');
  const loops = (await vm.must('losetup --noheadings --list')).split('\n').filter(Boolean);
  // A tree that an earlier daemon made keeps its own layers: never more than are joined in it, and each once.
  const attached = new Set(layers.map((line) => / - erofs (\S+)/.exec(line)?.[1]));
  const kept = loops.filter((line) => !attached.has(line.split(/\s+/)[0]));
  const joined = overlays.flatMap((line) => /lowerdir=([^, ]+)/.exec(line)?.[1]?.split(':') ?? []);
  t.true(kept.length <= joined.length, loops.join('\n'));
  t.is(new Set(kept.map((line) => line.split(/\s+/)[5])).size, kept.length, loops.join('\n'));
  t.false(
    loops.some((line) => line.includes('(deleted)')),
    loops.join('\n'),
  );
  const pid = (await vm.must(`systemctl show -P MainPID personad.service`)).trim();
  const inGroup = 'find /sys/fs/cgroup/personad.slice -name cgroup.procs -exec cat {} +; true';
  // A child that reads what is installed ends when it has, and its group goes, maybe between the find and the cat.
  await until(
    'the daemon is alone in its slice',
    async () => (await vm.must(inGroup)).trim() === pid,
  );
  t.is(await vm.must('find /var/lib/persona/staging /var/lib/persona/quarantine -mindepth 1'), '');
  t.is(
    await vm.must("find /tmp /var/tmp /run -xdev -name 'personad*' ! -name '*.unit' -type f"),
    '',
  );
}
