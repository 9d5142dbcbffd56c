import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import { personaSource } from '../../../daemon/personas/activation.ts';
import { startRecheck } from '../../../daemon/personas/layer-recheck.ts';
import { when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  importBase,
  named,
  personaMachine,
  writeBaseTree,
} from '../../support/personas.ts';

const whenRoot = when(test, { root: true, tools: ['bwrap', 'setpriv', 'prlimit'] });

whenRoot('after a boot every layer is read again; a damaged one is not activated', async (t) => {
  const machine = await personaMachine(t);
  const { room, state } = machine;
  const tree = writeBaseTree(machine.folder);
  const base = await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const check = (boot: string) => startRecheck(room, { boot, log: silentLog, rest: 0 }).done;
  await check('first');
  t.is(room.damaged.size, 0);
  const checked = () => machine.store.get("SELECT value FROM facts WHERE name = 'layers-checked'");
  t.like(await checked(), { value: 'first' });

  const [diff] = room.book.persona('work').layers;
  const file = join(state, diff?.file ?? '');
  const bytes = readFileSync(file);
  const at = (diff?.offset ?? 0) + 1100;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  await check('first');
  t.is(room.damaged.size, 0, 'once in each boot is enough');
  await check('second');
  t.deepEqual([...room.damaged.keys()], [diff?.digest]);
  t.like(await checked(), { value: 'first' }, 'it is looked at again at the next start');
  const source = personaSource(room);
  const error = await t.throwsAsync(source.persona('work'), { code: 'state-damaged' });
  t.regex(error?.message ?? '', /bytes have changed/);
  t.is((await source.base(base)).layers.length, 1, 'the base is still good');
});

whenRoot('a check that is stopped ends without a word', async (t) => {
  const machine = await personaMachine(t);
  const tree = writeBaseTree(machine.folder);
  execFileSync('dd', ['if=/dev/zero', `of=${tree}/usr/big`, 'bs=1M', 'count=8', 'status=none']);
  await importBase(t, machine, 'one', tree);
  const recheck = startRecheck(machine.room, { boot: 'other', log: silentLog, rest: 1e6 });
  recheck.stop();
  await recheck.done;
  t.is(await machine.store.get("SELECT value FROM facts WHERE name = 'layers-checked'"), undefined);
});
