import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readSlot } from '../../../daemon/personas/slot-rows.ts';
import type { Daemon, Hooks } from '../../../daemon/wiring.ts';
import { treeOfFolder } from '../../support/folder-tree.ts';
import { loseEnd } from '../../support/lost-end.ts';
import { run, when } from '../../support/needs.ts';
import { fillOddTree } from '../../support/odd-tree.ts';
import {
  ask,
  furnish,
  type Methods,
  mustDo,
  rootRequest,
  smallDisk,
  startSilent,
  stoppable,
} from '../../support/silent-daemon.ts';
import { differences, treeFacts } from '../../support/tree-facts.ts';

// What is written in a slot, moved between the state tree and a volume.

const MiB = 1024 ** 2;
const rooted = when(test, {
  root: true,
  tools: ['mkfs.ext4', 'setfattr', 'setfacl', 'setcap'],
});

const shownOf = (root: string) => join(root, 'run/slots/work/root');
const stateOf = (root: string) => join(root, 'state/slots/work/uppers');
const inVolumeOf = (root: string) => join(root, 'run/volumes/.whole/user/slots');

const moveTo = (to: 'user' | 'state') => (methods: Methods) =>
  methods['slot.move']({ slot: 'work', to }, rootRequest);
const swap = (persona: string) => (methods: Methods) =>
  methods['slot.swap']({ slot: 'work', persona }, rootRequest);

/** A daemon with the slot `work`, in which something (`odd`: of every kind) is written on sealed uppers and on the active one, and a volume. */
async function written(
  t: ExecutionContext,
  { odd = false, hooks = {} }: { odd?: boolean; hooks?: Hooks } = {},
) {
  const disk = smallDisk(t, 500);
  const { root, folder } = disk;
  const daemon = await startSilent(root, hooks);
  const stop = stoppable(t, daemon);
  await furnish(daemon, folder);
  const shown = shownOf(root);
  mkdirSync(join(shown, 'odd'));
  if (odd) fillOddTree(join(shown, 'odd'), { devices: false });
  await mustDo(daemon, swap('a'));
  writeFileSync(join(shown, 'etc/mine'), 'of a');
  await mustDo(daemon, swap('b'));
  rmSync(join(shown, 'etc/name'));
  rmSync(join(shown, 'tmp'), { recursive: true });
  mkdirSync(join(shown, 'tmp')); // an opaque folder
  writeFileSync(join(shown, 'odd/new'), 'on top');
  await mustDo(daemon, (methods) =>
    methods['volume.create']({ name: 'user', bytes: 96 * MiB, limitBytes: 96 * MiB }, rootRequest),
  );
  return { daemon, stop, root, shown };
}

/** The time of the root folder is given to each new upper as a number, less exact than it was. */
async function factsOf(shown: string) {
  const facts = await treeFacts(treeOfFolder(shown));
  Object.assign(facts[''] as object, { mtimeNs: 0 });
  return facts;
}

async function volumeOf({ rooms, engine }: Daemon) {
  const { slots } = await rooms.methods(engine)['slot.list']({}, rootRequest);
  return slots.find(({ name }) => name === 'work')?.volume;
}

rooted(
  'what is written moves into a volume and back, the same to the last attribute',
  async (t) => {
    const { daemon, root, shown } = await written(t, { odd: true });
    const before = await factsOf(shown);
    t.true(Object.keys(before).length > 100);
    await mustDo(daemon, moveTo('user'));
    t.is(await volumeOf(daemon), 'user');
    t.deepEqual(differences(await factsOf(shown), before), {});
    t.deepEqual(
      readdirSync(stateOf(root)).filter((id) => existsSync(join(stateOf(root), id, 'fs'))),
      [],
    );
    writeFileSync(join(shown, 'etc/later'), 'in the volume');
    await mustDo(daemon, swap('a'));
    t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of a', 'earlier states moved, too');
    await mustDo(daemon, swap('b'));
    rmSync(join(shown, 'etc/later'));
    await mustDo(daemon, moveTo('state'));
    t.is(await volumeOf(daemon), undefined);
    t.deepEqual(readdirSync(inVolumeOf(root)), []);
    const after = await factsOf(shown);
    delete after.etc;
    const { etc: _, ...wanted } = before; // its time has changed
    t.deepEqual(differences(after, wanted), {});
    await t.throwsAsync(ask(daemon, moveTo('state')), { code: 'bad-value' });
    await mustDo(daemon, (methods) => methods['volume.rm']({ name: 'user' }, rootRequest));
  },
);

rooted('the slot is never empty meanwhile, and cannot be written to', async (t) => {
  const seen: unknown[] = [];
  let shown = '';
  const look = () => {
    const name = readFileSync(join(shown, 'odd/new'), 'utf8');
    let wrote = 'yes';
    try {
      closeSync(openSync(join(shown, 'odd/refused'), 'w'));
    } catch (error) {
      wrote = (error as NodeJS.ErrnoException).code ?? '';
    }
    return { name, wrote };
  };
  const at = async (point: string) => {
    if (/^(did|do):slots\.(copy-uppers|commit-move|show-moved)$/.test(point))
      seen.push({ point, ...look() });
  };
  const made = await written(t, { hooks: { faults: { at } } });
  shown = made.shown;
  await mustDo(made.daemon, moveTo('user'));
  const frozen = { name: 'on top', wrote: 'EROFS' };
  t.deepEqual(seen, [
    { point: 'do:slots.copy-uppers', ...frozen },
    { point: 'did:slots.copy-uppers', ...frozen },
    { point: 'do:slots.commit-move', ...frozen },
    { point: 'did:slots.commit-move', ...frozen },
    { point: 'do:slots.show-moved', ...frozen },
    { point: 'did:slots.show-moved', name: 'on top', wrote: 'yes' },
  ]);
});

rooted('programs inside are named, and the slot stays as it was', async (t) => {
  const { daemon, root, shown } = await written(t);
  const program = spawn('sleep', ['1000'], { cwd: shown });
  t.teardown(() => program.kill('SIGKILL'));
  const inside = await ask(daemon, moveTo('user'));
  t.is(inside.error?.code, 'slot-busy');
  t.regex(inside.error?.message ?? '', /sleep \(pid \d+\)/);
  const ended = new Promise((resolve) => program.once('exit', resolve));
  program.kill('SIGKILL');
  await ended;
  // Our own process counts as nobody; what it has open for writing counts.
  const file = openSync(join(shown, 'etc/open'), 'w');
  const open = await ask(daemon, moveTo('user'));
  t.like(open, { status: 'failed', error: { code: 'in-use' } });
  closeSync(file);
  writeFileSync(join(shown, 'etc/open'), 'writable as before');
  t.deepEqual(existsSync(inVolumeOf(root)) ? readdirSync(inVolumeOf(root)) : [], []);
  await mustDo(daemon, moveTo('user'));
  t.is(readFileSync(join(shown, 'etc/open'), 'utf8'), 'writable as before');
});

rooted('a volume that is too small is refused, and nothing has changed', async (t) => {
  const { daemon, root, shown } = await written(t);
  writeFileSync(join(shown, 'big'), Buffer.alloc(90 * MiB, 1));
  run('sync', '-f', root);
  await t.throwsAsync(ask(daemon, moveTo('user')), { code: 'no-space' });
  t.is(await volumeOf(daemon), undefined);
  writeFileSync(join(shown, 'etc/mine'), 'goes on');
});

rooted('a slot that shows nothing moves, too', async (t) => {
  const { daemon, root } = await written(t);
  await mustDo(daemon, (m) => m['slot.create']({ name: 'idle' }, rootRequest));
  await mustDo(daemon, (m) => m['slot.move']({ slot: 'idle', to: 'user' }, rootRequest));
  await mustDo(daemon, (m) => m['slot.swap']({ slot: 'idle', persona: 'a' }, rootRequest));
  t.is(readdirSync(inVolumeOf(root)).length, 1);
  await mustDo(daemon, (m) => m['slot.create']({ name: 'brief', ephemeral: true }, rootRequest));
  await t.throwsAsync(
    ask(daemon, (m) => m['slot.move']({ slot: 'brief', to: 'user' }, rootRequest)),
    { code: 'bad-value' },
  );
});

/** Asks for a move a second time while the first has not ended. Returns how both ended. */
async function moveTwice({ rooms, engine }: Daemon, to: 'user' | 'state') {
  const methods = rooms.methods(engine);
  const asked = [await moveTo(to)(methods), await moveTo(to)(methods)];
  const given = await Promise.all(asked.map(({ plan }) => engine.submit(plan)));
  const ends = await Promise.all(given.map(({ done }) => done));
  return ends.map(({ status, error }) => error?.message ?? status);
}

rooted('a move that is asked for twice moves once, and nothing is lost', async (t) => {
  const { daemon, root, shown } = await written(t);
  // Nothing is written in what is shown: only earlier states can be lost, which nobody looks at now.
  await mustDo(daemon, (m) => m['slot.rollback']({ slot: 'work', base: true }, rootRequest));
  const moved = (place: string) => [
    'done',
    `cannot accept work: it was moved to ${place} since this was asked for`,
  ];
  t.deepEqual(await moveTwice(daemon, 'user'), moved('volume user'));
  t.is(await volumeOf(daemon), 'user');
  t.is(readdirSync(inVolumeOf(root)).length, 1);
  await mustDo(daemon, swap('b'));
  t.is(readFileSync(join(shown, 'odd/new'), 'utf8'), 'on top');
  t.deepEqual(await moveTwice(daemon, 'state'), moved('the state tree'));
  t.is(await volumeOf(daemon), undefined);
  t.is(readFileSync(join(shown, 'odd/new'), 'utf8'), 'on top');
  writeFileSync(join(shown, 'etc/later'), 'writable');
  await mustDo(daemon, swap('a'));
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of a');
  await mustDo(daemon, swap('b'));
  t.is(readFileSync(join(shown, 'etc/later'), 'utf8'), 'writable');
});

rooted('a removal behind a move leaves nothing in the volume', async (t) => {
  const { daemon, root } = await written(t);
  const { rooms, engine } = daemon;
  const methods = rooms.methods(engine);
  // Both are asked for while the slot lies in the state tree.
  const moved = await moveTo('user')(methods);
  const removed = await methods['slot.rm']({ slot: 'work', discard: true }, rootRequest);
  const given = await Promise.all([moved, removed].map(({ plan }) => engine.submit(plan)));
  for (const { done } of given) t.is((await done).status, 'done');
  t.deepEqual(readdirSync(inVolumeOf(root)), []);
  t.false(existsSync(join(root, 'state/slots/work')));
  await mustDo(daemon, (m) => m['volume.rm']({ name: 'user' }, rootRequest));
});

/** Rewrites the journal of the removal as an earlier version wrote it: where the slot lay stood in the plan. */
async function asEarlier({ store }: Daemon, volume: unknown): Promise<void> {
  const { id, plan } =
    (await store.get("SELECT id, plan FROM changes WHERE kind = 'slot.rm'")) ?? {};
  const { tasks, ...rest } = JSON.parse(String(plan)) as { tasks: { params: object }[] };
  const [last, ...others] = tasks.reverse();
  Object.assign(last?.params ?? {}, { volume });
  const earlier = { ...rest, tasks: [last, ...others].reverse() };
  await store.commit((tx) => {
    tx.run('UPDATE changes SET plan = ? WHERE id = ?', JSON.stringify(earlier), Number(id));
    tx.run('UPDATE events SET detail = NULL WHERE change = ?', Number(id));
  });
}

for (const version of ['this', 'an earlier'])
  rooted(`a removal of ${version} version that a start ends removes from the volume`, async (t) => {
    const at = async (point: string) => {
      if (point === 'do:slots.remove-slot') throw new Error('cut off');
    };
    const { daemon, stop, root } = await written(t, { hooks: { faults: { at } } });
    await mustDo(daemon, moveTo('user'));
    const { volume } = (await readSlot(daemon.store, 'work')) ?? {};
    const removed = await ask(daemon, (m) =>
      m['slot.rm']({ slot: 'work', discard: true }, rootRequest),
    );
    t.regex(removed.status, /stuck/);
    if (version === 'an earlier') await asEarlier(daemon, volume);
    await stop();
    t.is(readdirSync(inVolumeOf(root)).length, 1);
    const again = await startSilent(root);
    t.teardown(() => again.stop());
    t.deepEqual(again.engine.open(), []);
    t.deepEqual(readdirSync(inVolumeOf(root)), []);
  });

rooted('a move that a start repeats leaves alone what was moved back since', async (t) => {
  const { daemon, stop, root, shown } = await written(t);
  await mustDo(daemon, moveTo('user'));
  await mustDo(daemon, moveTo('state'));
  writeFileSync(join(shown, 'etc/later'), 'kept');
  await loseEnd(daemon.store, 'slot.move');
  await stop();
  const again = await startSilent(root);
  t.teardown(() => again.stop());
  t.deepEqual(again.engine.open(), []);
  t.is(await volumeOf(again), undefined);
  t.is(readFileSync(join(shown, 'etc/later'), 'utf8'), 'kept');
  await mustDo(again, swap('a'));
  t.is(readFileSync(join(shown, 'etc/mine'), 'utf8'), 'of a');
});
