import test from 'ava';
import { lacking, when } from '../support/needs.ts';
import { putPrograms } from './support/guest-programs.ts';
import { expectNoRemains } from './support/remains.ts';
import {
  accounts,
  asked,
  expectHidden,
  populate,
  slotTree,
  slowMs,
  startReader,
  tool,
  until,
} from './support/slots.ts';
import { fileVm, needsVm } from './support/vm.ts';

// Debian 12, Linux 6.1: it reads no image by itself, slips no mount beneath another, and joins no layers by descriptor.
// What is used instead is seen here, and that it is as good.

const scenario = when(test, needsVm);
const able = lacking(needsVm) === undefined;
const vm = able ? fileVm(test, { suite: 'bookworm', snapshot: true }) : never;
if (able) {
  test.serial.before('personas and a slot', async (t) => {
    t.timeout(10 * 60_000);
    await putPrograms(vm(), 'make-trees', 'reader');
    await populate(vm());
  });
  test.serial.afterEach.always((t) => expectHidden(t, vm()));
}

function never(): never {
  throw new Error('there is no machine');
}

scenario('Debian 12: what the kernel lacks is said, and what is used instead', async (t) => {
  const { kernel, capabilities, checks } = await asked<{
    kernel: string;
    capabilities: { name: string; state: string; fix?: string }[];
    checks: { name: string; state: string }[];
  }>(vm(), 'doctor');
  t.regex(kernel, /^6\.1\./);
  const found = Object.fromEntries(capabilities.map(({ name, state }) => [name, state]));
  const lacks = ['erofs-file', 'erofs-offset', 'mount-beneath', 'lowerdir-fd', 'lowerdir-path'];
  for (const name of lacks) t.is(found[name], 'fallback', name);
  for (const name of ['loop', 'uppers', 'idmapped-layers']) t.is(found[name], 'ok', name);
  t.deepEqual(
    checks.filter(({ state }) => state !== 'ok'),
    [],
  );
  const status = await tool(vm(), 'status');
  for (const name of lacks) t.true(status.includes(name), `status names ${name}`);
  t.is(await vm().must(`readlink ${slotTree} | cut -d/ -f1 | tr -d .`), 'trees\n');
});

scenario('Debian 12: swaps, and nobody who reads the slot ever finds nothing', async (t) => {
  const readers = {
    plain: await startReader(vm(), 'plain'),
    private: await startReader(vm(), 'private', 'PrivateTmp=yes'),
  };
  const personas = ['b', 'a', 'b', 'a'];
  await vm().must(
    `for p in ${personas.join(' ')}; do personactl swap work $p || exit; sleep 0.5; done`,
    { user: accounts.owner, deadlineMs: slowMs },
  );
  await until('no old tree is pinned', async () => {
    const { slot } = await asked<{ slot: { draining: unknown[] } }>(vm(), 'slot show work');
    return slot.draining.length === 0;
  });
  for (const [name, { pid }] of Object.entries(readers)) {
    const mounts = await vm().must(`cat /proc/${pid}/mountinfo`);
    t.is(mounts.split('\n').filter((line) => / - overlay persona:/.test(line)).length, 1, name);
  }
  for (const [name, reader] of Object.entries(readers)) {
    const { reads, seen, failures } = await reader.end();
    t.deepEqual(failures, [], name);
    t.deepEqual(seen, ['a', ...personas], name);
    t.log(`${name}: ${reads} reads, none failed`);
  }
  await expectNoRemains(t, vm(), 1);
});

scenario('Debian 12: what was written comes back, over a restart and a rollback', async (t) => {
  await vm().must(`echo kept > ${slotTree}/etc/written`);
  await vm().must('systemctl restart personad.service', { deadlineMs: slowMs });
  t.is(await vm().must(`cat ${slotTree}/etc/name ${slotTree}/etc/written`), 'akept\n');
  await tool(vm(), 'swap work b', accounts.owner);
  t.is(await tool(vm(), 'exec work -- cat /etc/name', accounts.owner), 'b');
  await tool(vm(), 'rollback work', accounts.owner);
  t.is(await vm().must(`cat ${slotTree}/etc/name ${slotTree}/etc/written`), 'akept\n');
  await expectNoRemains(t, vm(), 1);
});
