import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  createGroup,
  moveProcess,
  readKnob,
  removeGroup,
  writeKnob,
} from '../../../daemon/kernel/cgroups.ts';
import { sameValue } from '../../../daemon/partitions/knob-text.ts';
import { parseLeases } from '../../../daemon/partitions/lease.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import { type KnobPlace, Leases } from '../../../daemon/partitions/leases.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { memory1Needs, memoryHierarchy } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const boot = 'boot-of-the-test';

/** A pair of groups as files: what version 2 shows. */
function fixture(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const root = join(folder, 'cgroup');
  for (const group of ['user.slice', 'system.slice']) {
    mkdirSync(join(root, group), { recursive: true });
    writeFileSync(join(root, group, 'memory.low'), '0\n');
    writeFileSync(join(root, group, 'memory.high'), 'max\n');
  }
  const file = join(folder, 'leases.json');
  const open = (over: { boot?: string } = {}) =>
    new Leases({
      book: LeaseBook.open(leaseFile(file)),
      ground: machineGround(false),
      boot,
      now: () => 1,
      ...over,
    });
  const knob = (name: string): KnobPlace => ({
    root,
    version: 2,
    controller: 'memory',
    group: 'user.slice',
    knob: name,
  });
  const value = (name: string) => readFileSync(join(root, 'user.slice', name), 'utf8').trim();
  const write = (name: string, text: string) => writeFileSync(join(root, 'user.slice', name), text);
  return { folder, root, file, open, knob, value, write };
}

test('values of a knob are the same when the kernel would read the same', (t) => {
  const memory = { knob: 'memory.high' };
  t.true(sameValue('max', '-1', memory));
  t.true(sameValue('9223372036854771712', 'max', memory));
  t.true(sameValue('4097', '4096', memory));
  t.false(sameValue('8192', '4096', memory));
  t.false(sameValue('max', '4096', memory));
  t.false(sameValue('odd', '4096', memory));
});

test('a knob is taken with a lease, changed, and given back', async (t) => {
  const { file, open, knob, value } = fixture(t);
  const leases = open();
  t.deepEqual(await leases.set(knob('memory.low'), '0'), { state: 'unchanged' });
  t.false(existsSync(file));
  t.deepEqual(await leases.set(knob('memory.low'), '8192'), { state: 'written', value: '8192' });
  t.deepEqual(await leases.set(knob('memory.low'), '4096'), { state: 'written', value: '4096' });
  t.is(value('memory.low'), '4096');
  t.deepEqual(
    parseLeases(readFileSync(file, 'utf8')).map(({ old, wanted, read }) => [old, wanted, read]),
    [['0', '4096', '4096']],
  );
  t.deepEqual(
    (await leases.releaseAll()).map(({ state }) => state),
    ['restored'],
  );
  t.is(value('memory.low'), '0');
  t.false(existsSync(file));
});

test('another writer keeps what it wrote', async (t) => {
  const { file, open, knob, value, write } = fixture(t);
  const leases = open();
  await leases.set(knob('memory.low'), '8192');
  await leases.set(knob('memory.high'), '1048576');
  write('memory.low', '65536');
  t.deepEqual(await leases.set(knob('memory.low'), '4096'), { state: 'foreign', found: '65536' });
  write('memory.high', '2097152');
  t.like(await leases.check(), [{ state: 'changed-since', detail: '2097152' }]);
  t.deepEqual(await leases.releaseAll(), []);
  t.deepEqual([value('memory.low'), value('memory.high')], ['65536', '2097152']);
  t.false(existsSync(file));
});

test('another daemon restores what this one has left, wherever it was killed', async (t) => {
  const { open, file, knob, value, write } = fixture(t);
  await open().set(knob('memory.high'), '1048576');
  t.deepEqual(
    (await open().releaseAll()).map(({ state }) => state),
    ['restored'],
  );
  t.is(value('memory.high'), 'max');
  // Between the lease and the write.
  await open().set(knob('memory.high'), '1048576');
  const [lease] = parseLeases(readFileSync(file, 'utf8'));
  write('memory.high', 'max');
  t.like(await open().releaseAll(), [{ state: 'restored' }]);
  // Between the write and what was read after it.
  writeFileSync(file, JSON.stringify([{ ...lease, read: undefined }]));
  write('memory.high', '1048576');
  t.like(await open().releaseAll(), [{ state: 'restored' }]);
  t.is(value('memory.high'), 'max');
  // Between the write back and the end of the lease.
  writeFileSync(file, JSON.stringify([lease]));
  t.like(await open().releaseAll(), [{ state: 'restored' }]);
  t.false(existsSync(file));
});

test('a lease of another boot, another group or no group writes nothing', async (t) => {
  const { root, open, knob, value } = fixture(t);
  await open().set(knob('memory.high'), '1048576');
  t.like(await open({ boot: 'another' }).releaseAll(), [{ state: 'gone' }]);
  t.is(value('memory.high'), '1048576');
  await open().set(knob('memory.low'), '8192');
  renameSync(join(root, 'user.slice'), join(root, 'old'));
  t.like(await open().releaseAll(), [{ state: 'gone' }]);
  await open().set({ ...knob('memory.low'), group: 'system.slice' }, '8192');
  renameSync(join(root, 'system.slice'), join(root, 'older'));
  renameSync(join(root, 'old'), join(root, 'system.slice'));
  t.like(await open().releaseAll(), [{ state: 'gone' }]);
  t.is(readFileSync(join(root, 'system.slice', 'memory.low'), 'utf8').trim(), '8192');
});

test('a knob that is not there is refused, and no lease is left', async (t) => {
  const { file, open, knob } = fixture(t);
  t.like(await open().set(knob('memory.zswap'), '1'), { state: 'refused' });
  t.like(await open().set({ ...knob('memory.low'), group: 'gone.slice' }, '1'), {
    state: 'refused',
  });
  t.like(await open().set({ ...knob('memory.low'), group: '../outside' }, '1'), {
    state: 'refused',
  });
  t.false(existsSync(file));
});

test('a file that holds no leases restores nothing', (t) => {
  for (const text of ['', 'null', '{}', '[{}]', '[1]', JSON.stringify(Array(33).fill({}))])
    t.throws(() => parseLeases(text), undefined, text);
  t.deepEqual(parseLeases('[]'), []);
});

const version1 = when(test, memory1Needs);

version1('knobs of a real group are taken, rounded by the kernel, and given back', async (t) => {
  const { at } = memoryHierarchy(1)!;
  const group = `persona-test-lease-${process.pid}`;
  t.teardown(() => removeGroup(`${at}/${group}`));
  createGroup(`${at}/${group}`);
  const file = join(temporaryFolder(t), 'leases.json');
  const open = () =>
    new Leases({
      book: LeaseBook.open(leaseFile(file)),
      ground: machineGround(false),
      boot,
      now: () => 1,
    });
  const soft = {
    root: at,
    version: 1,
    controller: 'memory',
    group,
    knob: 'memory.soft_limit_in_bytes',
  } as const;
  const hard = { ...soft, knob: 'memory.limit_in_bytes' };
  const before = readKnob(`${at}/${group}`, hard.knob)!;
  t.deepEqual(await open().set(soft, '10000001'), { state: 'written', value: '9998336' });
  t.deepEqual(await open().set(hard, '20000000'), { state: 'written', value: '19996672' });
  t.deepEqual(
    (await open().releaseAll()).map(({ state }) => state),
    ['restored', 'restored'],
  );
  t.is(readKnob(`${at}/${group}`, hard.knob), before);
  t.is(readKnob(`${at}/${group}`, soft.knob), before);
  // A group of the same name is another one.
  await open().set(soft, '10000001');
  removeGroup(`${at}/${group}`);
  createGroup(`${at}/${group}`);
  await writeKnob(`${at}/${group}`, soft.knob, '10000001');
  t.like(await open().releaseAll(), [{ state: 'gone' }]);
  t.is(readKnob(`${at}/${group}`, soft.knob), '9998336');
});

version1('what the kernel refuses is said, and leaves no lease', async (t) => {
  const { at } = memoryHierarchy(1)!;
  const group = `persona-test-refused-${process.pid}`;
  t.teardown(() => removeGroup(`${at}/${group}`));
  createGroup(`${at}/${group}`);
  const held =
    'process.stdin.once("data", () => { globalThis.held = Buffer.alloc(30e6, 1); console.log("held"); });';
  const child = partner(t, process.execPath, '-e', held);
  await moveProcess(`${at}/${group}`, child.process.pid!);
  child.say('go');
  t.is(await child.line(), 'held');
  const file = join(temporaryFolder(t), 'leases.json');
  const leases = new Leases({
    book: LeaseBook.open(leaseFile(file)),
    ground: machineGround(false),
    boot,
    now: () => 1,
  });
  // Without swap the memory of a process cannot be taken: a hard limit below it is refused.
  const hard = {
    root: at,
    version: 1,
    controller: 'memory',
    group,
    knob: 'memory.limit_in_bytes',
  } as const;
  const refused = await leases.set(hard, '8192');
  t.is(refused.state, 'refused');
  t.regex((refused as { reason: string }).reason, /EBUSY/);
  t.false(existsSync(file));
});
