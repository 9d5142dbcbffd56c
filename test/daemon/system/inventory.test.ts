import { readdirSync } from 'node:fs';
import test from 'ava';
import { readHierarchies } from '../../../daemon/kernel/cgroups.ts';
import { namesOf } from '../../../daemon/kernel/files.ts';
import { type Inventory, readInventory } from '../../../daemon/kernel/inventory.ts';
import { readMeminfo } from '../../../daemon/kernel/meminfo.ts';
import { inventoryOf } from '../../../daemon/system/inventory.ts';
import { when } from '../../support/needs.ts';

const found: Inventory = {
  system: { maker: 'Maker', model: 'Desk', virtual: false },
  cpu: { model: 'Fast', cores: 8, physicalCores: 4 },
  memory: { totalBytes: 1024, modules: [] },
  disks: [],
  namespaces: [],
};

test('the machine is asked once for all who want to know, again when it is old, and after a failure', async (t) => {
  let asked = 0;
  let nowMs = 1_000_000;
  let fails = false;
  const inventory = inventoryOf({
    async read() {
      asked += 1;
      if (fails) throw new Error('no answer');
      return found;
    },
    now: () => nowMs,
  });
  t.like(await Promise.all([inventory(), inventory()]), [{ readMs: nowMs }, { readMs: nowMs }]);
  nowMs += 599_000;
  t.is((await inventory()).readMs, 1_000_000);
  t.is(asked, 1);
  nowMs += 2_000;
  fails = true;
  await t.throwsAsync(inventory(), { message: 'no answer' });
  fails = false;
  t.is((await inventory()).readMs, nowMs);
  t.is(asked, 3);
  // A clock that was set back makes nothing old for ever.
  nowMs -= 86_400_000;
  await inventory();
  t.is(asked, 4);
});

when(test, { root: true, tools: ['prlimit'] })(
  'this machine is told by a child that leaves nothing behind',
  async (t) => {
    const { cpu, memory, disks, namespaces } = await readInventory();
    t.true(cpu.cores > 0 && cpu.physicalCores > 0 && cpu.cores >= cpu.physicalCores);
    t.is(memory.totalBytes, readMeminfo().totalBytes);
    const names = readdirSync('/sys/block');
    for (const { name, bytes } of [...disks, ...namespaces])
      t.true(names.includes(name) && bytes > 0, name);
    const groups = readHierarchies().flatMap(({ at }) =>
      namesOf(`${at}/personad-children`, 'folder'),
    );
    t.deepEqual(
      groups.filter((name) => name.startsWith(`inventory-${process.pid}-`)),
      [],
    );
  },
);
