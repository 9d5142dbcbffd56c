import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Faults } from '../../../daemon/changes/faults.ts';
import { settingsOf } from '../../../daemon/config/settings.ts';
import type { Daemon } from '../../../daemon/wiring.ts';
import { when } from '../../support/needs.ts';
import {
  mustDo,
  rootRequest,
  smallDisk,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';

// Both volumes on a small disk of the test's own, governed by the daemon on a clock of the test.

const MiB = 1024 ** 2;
const rooted = when(test, { root: true, tools: ['mkfs.ext4'] });
const total = 256 * MiB;
/** Ten points of both together, in whole MiB. */
const step = 25 * MiB;

type Side = 'user' | 'system';
const dataOf = (root: string, name: Side) => join(root, 'run/volumes', name);

interface Wanted {
  policy?: string;
  govern?: 'on' | 'off';
  keepFree?: string;
  faults?: Faults;
}

/** A daemon that governs, and its clock. */
async function governing(t: ExecutionContext, root: string, wanted: Wanted = {}) {
  const { policy = 'protective', govern = 'on', keepFree = '16MiB', faults } = wanted;
  const values = {
    'space.reserve': '8MiB',
    'space.keep_free': keepFree,
    'space.keep_free_percent': 0,
    'volumes.govern': govern,
    'partitions.policy': policy,
  };
  const settings = settingsOf(
    Object.entries(values).map(([key, value]) => ({ key, value, origin: 'test:1' })),
  );
  const clock = { ms: 1_000_000 };
  const hooks = { governClock: () => clock.ms, ...(faults && { faults }) };
  const daemon = await startSilent(root, hooks, { settings });
  const stop = stoppable(t, daemon);
  /** So many looks, a second apart. */
  const look = async (times = 1) => {
    for (let n = 0; n < times; n += 1) {
      clock.ms += 1000;
      await daemon.rooms.governor.loop.tick();
    }
  };
  return { daemon, clock, look, stop };
}

const methodsOf = ({ rooms, engine }: Daemon) => rooms.methods(engine);

async function createBoth(daemon: Daemon, limitBytes = total): Promise<void> {
  for (const name of ['user', 'system'] as const)
    await mustDo(daemon, (m) =>
      m['volume.create']({ name, bytes: total / 2, limitBytes }, rootRequest),
    );
}

async function sizes(daemon: Daemon) {
  const { volumes } = await methodsOf(daemon)['volume.list']({}, rootRequest);
  const found = new Map(volumes.map(({ name, space }) => [name, space]));
  for (const space of found.values()) if (space?.missingBytes !== 0) throw new Error('not its own');
  const of = (name: Side) => found.get(name)?.sizeBytes ?? 0;
  return { user: of('user'), system: of('system') };
}

const moves = async ({ engine }: Daemon) =>
  (await engine.list(50)).filter(({ kind }) => kind === 'volume.move');

/** Files of 4 MiB until the volume has no more; what each held. */
function fillWith(folder: string, most = 1000): Map<string, string> {
  const held = new Map<string, string>();
  for (let n = readdirSync(folder).length; held.size < most; n += 1) {
    const bytes = Buffer.alloc(4 * MiB, `${folder} ${n}`);
    const path = join(folder, `${n}`);
    try {
      writeFileSync(path, bytes, { flush: true });
      held.set(path, createHash('sha256').update(bytes).digest('hex'));
    } catch {
      rmSync(path, { force: true });
      break;
    }
  }
  return held;
}

const asHeld = (held: Map<string, string>): boolean =>
  [...held].every(
    ([path, digest]) => createHash('sha256').update(readFileSync(path)).digest('hex') === digest,
  );

for (const policy of ['protective', 'threshold'])
  rooted(
    `${policy}: a volume that fills up grows at the other's cost, under its files`,
    async (t) => {
      const { root } = smallDisk(t, 330);
      const { daemon, clock, look } = await governing(t, root, { policy });
      await createBoth(daemon);
      const open = openSync(join(dataOf(root, 'system'), 'open'), 'w');
      writeSync(open, 'before');
      const other = fillWith(dataOf(root, 'system'), 8);
      const held = fillWith(dataOf(root, 'user'));
      t.true(held.size * 4 * MiB > 100 * MiB, `${held.size} files`);
      await look();
      t.deepEqual(await sizes(daemon), { user: total / 2, system: total / 2 }, 'one look');
      await look();
      t.deepEqual(await sizes(daemon), { user: total / 2 + step, system: total / 2 - step });
      await look(15);
      t.is((await moves(daemon)).length, 1, 'it rests');
      const more = fillWith(dataOf(root, 'user'));
      t.true(more.size >= 5, `${more.size} files more`);
      clock.ms += 10_000;
      await look(2);
      const now = await sizes(daemon);
      t.true(now.user >= total / 2 + 1.5 * step, JSON.stringify(now));
      t.is(now.user + now.system, total);
      writeSync(open, ' and after');
      fsyncSync(open);
      closeSync(open);
      t.is(readFileSync(join(dataOf(root, 'system'), 'open'), 'utf8'), 'before and after');
      t.true(asHeld(held) && asHeld(more) && asHeld(other));
      const [last] = await moves(daemon);
      t.is(last?.status, 'done');
      t.regex(
        last?.summary ?? '',
        new RegExp(`^move .* from volume system to volume user \\(${policy}: user, `),
      );
      const { space } = await methodsOf(daemon)['partitions.explain']({}, rootRequest);
      t.like(space?.moves.at(-1)?.move, {
        ...{ from: 'system', to: 'user', state: 'done' },
        change: last?.id,
      });
      const shown = await methodsOf(daemon)['partitions.show']({}, rootRequest);
      t.like(shown.space, { on: true, policy });
      t.is(shown.space?.sides.find(({ side }) => side === 'user')?.sizeBytes, now.user);
    },
  );

rooted('who is governed by nobody, or by static, keeps what it has', async (t) => {
  const { root } = smallDisk(t, 330);
  const { daemon, look, stop } = await governing(t, root, { policy: 'static' });
  await createBoth(daemon);
  fillWith(dataOf(root, 'user'));
  await look(30);
  t.deepEqual(await moves(daemon), []);
  await stop();
  const off = await governing(t, root, { govern: 'off' });
  const { governed } = await methodsOf(off.daemon)['volume.list']({}, rootRequest);
  t.deepEqual(governed, { on: false, policy: 'protective' });
  off.daemon.rooms.phase('ready');
  await off.daemon.rooms.governor.loop.settled();
  t.is(off.daemon.rooms.governor.loop.decision, undefined, 'nothing is looked at');
  await off.stop();
  const on = await governing(t, root, { policy: 'static' });
  on.daemon.rooms.phase('ready');
  await on.daemon.rooms.governor.loop.settled();
  t.is(on.daemon.rooms.governor.loop.decision?.policy, 'static');
});

rooted(
  'a volume never becomes larger than it was made to, and one that is alone stays',
  async (t) => {
    const { root } = smallDisk(t, 330);
    const { daemon, look } = await governing(t, root);
    const make = (name: Side, limitBytes: number) =>
      mustDo(daemon, (m) =>
        m['volume.create']({ name, bytes: total / 2, limitBytes }, rootRequest),
      );
    await make('user', total / 2 + 12 * MiB);
    await look(3);
    const { governed } = await methodsOf(daemon)['volume.list']({}, rootRequest);
    t.is(governed.obstacle, 'there is no volume system');
    await make('system', total);
    fillWith(dataOf(root, 'user'));
    await look(3);
    t.deepEqual(await sizes(daemon), {
      user: total / 2 + 12 * MiB,
      system: total / 2 - 12 * MiB,
    });
    fillWith(dataOf(root, 'user'));
    await look(60);
    t.is((await moves(daemon)).length, 1);
    const { space } = await methodsOf(daemon)['partitions.explain']({}, rootRequest);
    t.true(space?.last?.why.some(({ rule, side }) => rule === 'limit' && side === 'user'));
  },
);

rooted(
  'a move that fails changes nothing, is told, and is tried again later and not at once',
  async (t) => {
    const { root } = smallDisk(t, 330);
    let fills = true;
    const at = async (point: string) => {
      if (fills && point === 'do:volumes.fill-ballast') fillWith(dataOf(root, 'system'));
    };
    const { daemon, clock, look } = await governing(t, root, { faults: { at } });
    await createBoth(daemon);
    fillWith(dataOf(root, 'user'));
    await look(2);
    t.like((await moves(daemon))[0], { status: 'failed', error: { code: 'no-space' } });
    t.deepEqual(await sizes(daemon), { user: total / 2, system: total / 2 });
    const told = async () =>
      (await methodsOf(daemon).status.notices()).some(({ text }) =>
        text.startsWith('space is not moved between the volumes: '),
      );
    t.true(await told());
    fills = false;
    for (const name of readdirSync(dataOf(root, 'system')))
      rmSync(join(dataOf(root, 'system'), name));
    await look(30);
    t.is((await moves(daemon)).length, 1, 'not in a loop');
    const { space } = await methodsOf(daemon)['partitions.explain']({}, rootRequest);
    t.true(space?.last?.why.some(({ rule }) => rule === 'failed'));
    clock.ms += 30_000;
    await look(2);
    t.is((await moves(daemon)).length, 2);
    t.deepEqual(await sizes(daemon), { user: total / 2 + step, system: total / 2 - step });
    t.false(await told());
  },
);

rooted(
  'a disk that others fill between giving and taking is no harm to either volume',
  async (t) => {
    const { root } = smallDisk(t, 330);
    const at = async (point: string) => {
      if (point === 'do:volumes.take-given') fillWith(root);
    };
    const { daemon, look } = await governing(t, root, { faults: { at } });
    await createBoth(daemon);
    const other = fillWith(dataOf(root, 'system'), 8);
    const held = fillWith(dataOf(root, 'user'));
    await look(2);
    const [move] = await moves(daemon);
    t.is(move?.status, 'done');
    const now = await sizes(daemon);
    t.is(now.system, total / 2 - step);
    t.true(now.user >= total / 2 && now.user < total / 2 + step, `${now.user / MiB} MiB`);
    const notices = await methodsOf(daemon).status.notices();
    t.true(notices.some(({ text }) => text.includes('the disk had only')));
    fillWith(dataOf(root, 'user'));
    t.true(asHeld(held) && asHeld(other));
  },
);

rooted('what is kept free of the disk is not lent to a move', async (t) => {
  const { root } = smallDisk(t, 330);
  const first = await governing(t, root);
  await createBoth(first.daemon);
  await first.stop();
  const { daemon, look } = await governing(t, root, { keepFree: '400MiB' });
  fillWith(dataOf(root, 'user'));
  await look(30);
  t.deepEqual(await moves(daemon), []);
  t.deepEqual(await sizes(daemon), { user: total / 2, system: total / 2 });
  const { space } = await methodsOf(daemon)['partitions.explain']({}, rootRequest);
  t.is(space?.moves.length, 1, 'tried once');
  t.is(space?.moves[0]?.move?.state, 'failed');
});
