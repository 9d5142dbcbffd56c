import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import type { UnitKnobs } from '../../../daemon/partitions/lease-ground.ts';
import { type KnobPlace, Leases } from '../../../daemon/partitions/leases.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { temporaryFolder } from '../../support/temp.ts';

const MiB = 2 ** 20;
const group = 'user.slice';

/** A unit's group as files, and a systemd that does with properties what systemd does: it writes all memory knobs at each. */
function fixture(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const root = join(folder, 'cgroup');
  mkdirSync(join(root, group), { recursive: true });
  const write = (name: string, text: string) => writeFileSync(join(root, group, name), `${text}\n`);
  const read = (name: string) => readFileSync(join(root, group, name), 'utf8').trim();
  const remove = (name: string) => rmSync(join(root, group, name));
  write('memory.low', '0');
  write('memory.high', 'max');
  write('memory.current', String(64 * MiB));
  write('io.weight', 'default 100');
  /** What was set, as its drop-ins say; and what it has in force. */
  const kept = new Map<string, string>();
  const inForce = new Map([
    ['memory.low', '0'],
    ['memory.high', 'max'],
  ]);
  const asked: string[] = [];
  const late: (() => void)[] = [];
  const toWrite: (() => void)[] = [];
  const manager = {
    /** It does not answer in time, and carries out what it was asked for with the next. */
    slow: false,
    /** It answers before it writes. */
    lags: false,
    /** What happens as soon as it has taken a property. */
    after: (_knob: string): void => undefined,
    catchUp() {
      for (const one of toWrite.splice(0)) one();
    },
  };
  const units: UnitKnobs = {
    find: (unit) => unit,
    kept: (_, knob) => kept.get(knob),
    async set(_, knob, value) {
      asked.push(`${knob}=${value}`);
      const apply = () => {
        kept.set(knob, value);
        if (knob === 'io.weight') return write(knob, `default ${value}`);
        inForce.set(knob, value);
        toWrite.push(() => {
          for (const [name, text] of inForce) write(name, text);
        });
        if (!manager.lags) manager.catchUp();
      };
      if (manager.slow) {
        late.push(apply);
        throw new Error('systemctl was ended after 4000 ms');
      }
      for (const one of late.splice(0)) one();
      apply();
      manager.after(knob);
    },
    forget: (_, knob) => kept.delete(knob),
  };
  const open = () =>
    new Leases({
      book: LeaseBook.open(leaseFile(join(folder, 'leases.json'))),
      ground: { ...machineGround(false), units },
      boot: 'b',
      now: () => 1,
    });
  const leases = open();
  const knob = (name: string): KnobPlace => ({
    root,
    version: 2,
    controller: name.startsWith('io.') ? 'io' : 'memory',
    group,
    knob: name,
  });
  return { leases, open, knob, read, write, remove, kept, inForce, asked, manager };
}

test('systemd is told of a limit when the unit is below it, never while it would have to take memory away', async (t) => {
  const { leases, knob, read, write, kept, asked } = fixture(t);
  const limit = String(32 * MiB);
  t.deepEqual(await leases.set(knob('memory.high'), limit), { state: 'written', value: limit });
  // Each property makes it write them all.
  await leases.set(knob('memory.low'), String(8 * MiB));
  await leases.tellManager();
  t.deepEqual([read('memory.high'), read('memory.low')], [limit, String(8 * MiB)]);
  t.deepEqual(asked, []);
  write('memory.current', String(31 * MiB));
  await leases.tellManager();
  t.deepEqual(asked, [`memory.high=${limit}`, `memory.low=${8 * MiB}`]);
  await leases.tellManager();
  t.is(asked.length, 2);
  t.deepEqual(
    (await leases.releaseAll()).map(({ state }) => state),
    ['restored', 'restored'],
  );
  t.deepEqual([read('memory.high'), read('memory.low'), [...kept]], ['max', '0', []]);
});

test('a limit comes off at once, though systemd does not answer', async (t) => {
  const { leases, knob, read, manager } = fixture(t);
  await leases.set(knob('memory.high'), String(128 * MiB));
  manager.slow = true;
  t.like(await leases.releaseAll(), [{ state: 'failed' }]);
  t.is(read('memory.high'), 'max');
  manager.slow = false;
  t.like(await leases.releaseAll(), [{ state: 'restored' }]);
  t.deepEqual([read('memory.high'), leases.all()], ['max', []]);
});

test('the limit goes back first: no protection waits for it, and none comes again', async (t) => {
  const { leases, knob, read, write, kept, inForce, asked } = fixture(t);
  await leases.set(knob('memory.low'), String(8 * MiB));
  await leases.set(knob('memory.high'), String(32 * MiB));
  t.deepEqual(asked, [`memory.low=${8 * MiB}`], 'the unit is above its limit');
  const both = ['restored', 'restored'];
  t.deepEqual(
    (await leases.releaseAll()).map(({ state }) => state),
    both,
  );
  t.deepEqual([read('memory.low'), inForce.get('memory.low')], ['0', '0']);
  t.deepEqual([read('memory.high'), inForce.get('memory.high')], ['max', 'max']);
  t.deepEqual([[...kept], leases.all()], [[], []]);

  // A limit that systemd knows, and a protection that it could not be told of since.
  write('memory.current', String(31 * MiB));
  await leases.set(knob('memory.high'), String(32 * MiB));
  write('memory.current', String(64 * MiB));
  await leases.set(knob('memory.low'), String(8 * MiB));
  asked.length = 0;
  t.deepEqual(
    (await leases.releaseAll()).map(({ state }) => state),
    both,
  );
  t.is(asked[0], 'memory.high=max');
  t.deepEqual([read('memory.low'), inForce.get('memory.low'), [...kept]], ['0', '0', []]);
});

test('after a kill systemd hears first that its limit is off, and without that nothing else', async (t) => {
  const { leases, open, knob, read, write, kept, inForce, asked, manager } = fixture(t);
  write('memory.current', String(31 * MiB));
  await leases.set(knob('memory.low'), String(8 * MiB));
  await leases.set(knob('memory.high'), String(32 * MiB));
  t.is(inForce.get('memory.high'), String(32 * MiB));
  // The guard of a killed daemon has written the files, and the unit grows.
  write('memory.low', '0');
  write('memory.high', 'max');
  write('memory.current', String(64 * MiB));
  asked.length = 0;
  manager.slow = true;
  const next = open();
  t.like(await next.releaseAll(), [{ state: 'failed' }, { state: 'failed' }]);
  t.deepEqual(new Set(asked), new Set(['memory.high=max']));
  manager.slow = false;
  t.like(await next.releaseAll(), [{ state: 'restored' }, { state: 'restored' }]);
  t.deepEqual([read('memory.low'), read('memory.high'), [...kept]], ['0', 'max', []]);
});

test('what another program has set stays, whatever systemd writes later', async (t) => {
  const { leases, knob, read, write, kept, inForce, manager } = fixture(t);
  const theirs = String(96 * MiB);
  const protection = String(8 * MiB);
  // In the file, or as a property that lasts: that is kept elsewhere, and what is kept of ours stays.
  for (const [lasts, lags] of [
    [false, false],
    [true, false],
    [true, true],
  ]) {
    await leases.set(knob('memory.high'), String(128 * MiB));
    write('memory.high', theirs);
    if (lasts) inForce.set('memory.high', theirs);
    manager.lags = lags === true;
    t.like(await leases.check(), [{ state: 'changed-since', detail: theirs }]);
    manager.catchUp();
    manager.lags = false;
    t.deepEqual([read('memory.high'), inForce.get('memory.high')], [theirs, theirs]);
    t.deepEqual([...kept], []);
    await leases.set(knob('memory.low'), protection);
    t.deepEqual([read('memory.high'), read('memory.low')], [theirs, protection]);
    await leases.releaseAll();
    t.is(read('memory.high'), theirs);
    // They let go of it.
    inForce.set('memory.high', 'max');
    write('memory.high', 'max');
    await leases.set(knob('memory.low'), protection);
    t.is(read('memory.high'), 'max', 'nothing of ours has come back');
    await leases.releaseAll();
    t.deepEqual([read('memory.high'), read('memory.low')], ['max', '0']);
  }
});

test('systemd is told what another program has set when the unit is below it', async (t) => {
  const { leases, knob, read, write, kept, asked } = fixture(t);
  await leases.set(knob('memory.high'), String(128 * MiB));
  const theirs = String(32 * MiB);
  write('memory.high', theirs);
  asked.length = 0;
  t.like(await leases.check(), [{ state: 'failed' }]);
  t.like(await leases.set(knob('memory.high'), String(96 * MiB)), { state: 'refused' });
  t.deepEqual([read('memory.high'), asked], [theirs, []]);
  write('memory.current', String(31 * MiB));
  t.like(await leases.check(), [{ state: 'changed-since', detail: theirs }]);
  t.deepEqual(asked, [`memory.high=${theirs}`]);
  t.deepEqual([read('memory.high'), [...kept], leases.all()], [theirs, [], []]);
});

test('a protection goes back though the unit is above a limit of another program', async (t) => {
  const { leases, knob, read, write, kept, inForce } = fixture(t);
  await leases.set(knob('memory.low'), String(8 * MiB));
  const theirs = String(32 * MiB);
  write('memory.high', theirs);
  inForce.set('memory.high', theirs);
  t.like(await leases.releaseAll(), [{ state: 'restored' }]);
  t.deepEqual([read('memory.low'), read('memory.high')], ['0', theirs]);
  t.deepEqual([inForce.get('memory.low'), [...kept], leases.all()], ['0', [], []]);
});

test('a weight of a unit above its limit is set at once, and systemd is told later', async (t) => {
  const { leases, knob, read, write, asked, kept } = fixture(t);
  await leases.set(knob('memory.high'), String(32 * MiB));
  const weight = knob('io.weight');
  t.deepEqual(await leases.set(weight, '400', '100'), { state: 'written', value: '400' });
  t.deepEqual([read('io.weight'), asked], ['400', []]);
  // What systemd knows comes back with a property that somebody else sets.
  write('io.weight', 'default 100');
  t.deepEqual(await leases.set(weight, '400', '100'), { state: 'written', value: '400' });
  t.deepEqual([read('io.weight'), asked], ['400', []]);
  write('memory.current', String(31 * MiB));
  await leases.tellManager();
  t.deepEqual(asked, [`memory.high=${32 * MiB}`, 'io.weight=400']);
  t.is(read('io.weight'), 'default 400');
  // As it was before us: nobody's.
  write('io.weight', 'default 100');
  t.deepEqual(await leases.set(weight, '300', '100'), { state: 'written', value: '300' });
  write('io.weight', 'default 900');
  t.deepEqual(await leases.set(weight, '400', '100'), { state: 'foreign', found: '900' });
  await leases.releaseAll();
  t.deepEqual([read('io.weight'), [...kept], leases.all()], ['default 900', [], []]);
});

test('systemd is not told of a knob that another program has set meanwhile', async (t) => {
  const { leases, knob, read, write, asked } = fixture(t);
  await leases.set(knob('memory.high'), String(32 * MiB));
  await leases.set(knob('io.weight'), '400', '100');
  write('io.weight', 'default 900');
  write('memory.current', String(31 * MiB));
  await leases.tellManager();
  t.deepEqual(asked, [`memory.high=${32 * MiB}`]);
  t.like(await leases.check(), [{ state: 'changed-since', detail: '900' }]);
  t.is(read('io.weight'), 'default 900');
  await leases.releaseAll();
  t.deepEqual([read('io.weight'), leases.all()], ['default 900', []]);
});

test('a knob has its old value again though systemd cannot be told of it yet', async (t) => {
  const { leases, knob, read, write, kept } = fixture(t);
  await leases.set(knob('memory.low'), String(8 * MiB));
  await leases.set(knob('memory.high'), String(32 * MiB));
  t.deepEqual(await leases.set(knob('memory.low'), '0'), { state: 'written', value: '0' });
  t.is(read('memory.low'), '0');
  t.is(leases.find(knob('memory.low'))?.told, String(8 * MiB), 'systemd has it');
  write('memory.current', String(31 * MiB));
  await leases.tellManager();
  t.like(await leases.check(), [{ state: 'restored' }]);
  t.deepEqual([...kept.keys()], ['memory.high']);
});

test('a controller that only systemd turns on waits until the unit is below its limit', async (t) => {
  const { leases, knob, read, write, remove, asked } = fixture(t);
  remove('io.weight');
  await leases.set(knob('memory.high'), String(32 * MiB));
  t.deepEqual(await leases.set(knob('io.weight'), '400', '100'), { state: 'blocked' });
  t.deepEqual([asked, leases.all().map((lease) => lease.knob)], [[], ['memory.high']]);
  write('memory.current', String(31 * MiB));
  await leases.tellManager();
  t.deepEqual(await leases.set(knob('io.weight'), '400', '100'), {
    state: 'written',
    value: '400',
  });
  t.deepEqual(asked, [`memory.high=${32 * MiB}`, 'io.weight=400']);
  t.is(read('io.weight'), 'default 400');
});

/** systemd has a protection of 8 MiB, and the unit is above its limit: that it is 4 MiB by now systemd could not be told. */
async function untoldProtection(t: ExecutionContext) {
  const parts = fixture(t);
  const { leases, knob, read, write, inForce } = parts;
  write('memory.current', String(31 * MiB));
  await leases.set(knob('memory.low'), String(8 * MiB));
  await leases.set(knob('memory.high'), String(32 * MiB));
  write('memory.current', String(33 * MiB));
  await leases.set(knob('memory.low'), String(4 * MiB));
  t.deepEqual([read('memory.low'), inForce.get('memory.low')], [`${4 * MiB}`, `${8 * MiB}`]);
  return parts;
}

test('after a kill a value that systemd alone still has is ours, and goes back', async (t) => {
  for (const guarded of [false, true]) {
    const { open, read, write, kept, inForce } = await untoldProtection(t);
    if (guarded) {
      write('memory.low', '0');
      write('memory.high', 'max');
    }
    const next = open();
    t.like(await next.releaseAll(), [{ state: 'restored' }, { state: 'restored' }]);
    t.deepEqual([read('memory.low'), read('memory.high')], ['0', 'max']);
    t.deepEqual([inForce.get('memory.low'), [...kept], next.all()], ['0', [], []]);
  }
});

test('a value that systemd writes back between two properties is ours', async (t) => {
  const { leases, knob, read, write, kept, inForce, manager } = fixture(t);
  const limit = knob('memory.high');
  write('memory.current', String(31 * MiB));
  await leases.set(knob('memory.low'), String(8 * MiB));
  await leases.set(limit, String(32 * MiB));
  write('memory.current', String(33 * MiB));
  await leases.set(limit, String(30 * MiB));
  await leases.set(knob('memory.low'), String(4 * MiB));
  write('memory.current', String(29 * MiB));
  // It hears of the limit, and then the unit grows again.
  manager.after = () => write('memory.current', String(33 * MiB));
  await leases.tellManager();
  t.deepEqual([read('memory.low'), inForce.get('memory.high')], [`${8 * MiB}`, `${30 * MiB}`]);
  t.deepEqual(await leases.check(), []);
  t.like(await leases.releaseAll(), [{ state: 'restored' }, { state: 'restored' }]);
  t.deepEqual([read('memory.low'), read('memory.high')], ['0', 'max']);
  t.deepEqual([inForce.get('memory.low'), [...kept], leases.all()], ['0', [], []]);
});

test('what another program has set stays though systemd could not be told of ours before', async (t) => {
  const theirs = String(12 * MiB);
  for (const limitFirst of [false, true]) {
    const { leases, knob, read, write, kept, inForce } = await untoldProtection(t);
    const limit = () => leases.set(knob('memory.high'), String(30 * MiB));
    write('memory.low', theirs);
    t.like(await leases.check(), [{ state: 'failed' }], 'the unit is above its limit');
    if (limitFirst) await limit();
    write('memory.current', String(29 * MiB));
    if (limitFirst) {
      t.like(await leases.check(), [{ state: 'failed' }], 'systemd has another limit');
      await leases.tellManager();
    } else await limit();
    t.is(inForce.get('memory.high'), String(30 * MiB));
    t.is(read('memory.low'), theirs);
    t.like(await leases.check(), [{ state: 'changed-since', detail: theirs }]);
    t.deepEqual([...kept.keys()], ['memory.high']);
    await leases.releaseAll();
    t.deepEqual([read('memory.low'), read('memory.high'), [...kept]], [theirs, 'max', []]);
  }
});

test('what systemd carries out after its deadline is taken back', async (t) => {
  const { leases, knob, read, kept, manager } = fixture(t);
  manager.slow = true;
  const set = leases.set(knob('io.weight'), '300');
  t.deepEqual(await set, { state: 'written', value: '300' }, 'by us');
  t.is(leases.all().length, 1, 'it may still come');
  manager.slow = false;
  t.like(await leases.releaseAll(), [{ state: 'restored' }]);
  t.deepEqual([read('io.weight'), [...kept], leases.all()], ['default 100', [], []]);
});
