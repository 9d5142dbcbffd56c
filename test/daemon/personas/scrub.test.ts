import {
  chmodSync,
  copyFileSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { silentLog } from '../../../daemon/changes/log.ts';
import type { Progress } from '../../../daemon/changes/task.ts';
import { personaSource } from '../../../daemon/personas/activation.ts';
import { type KeptFile, keptFiles } from '../../../daemon/personas/kept-files.ts';
import { planImport } from '../../../daemon/personas/personas.ts';
import { openPersonasRoom, type PersonasRoom } from '../../../daemon/personas/room.ts';
import { Scrub, type ScrubParts } from '../../../daemon/personas/scrub.ts';
import { flipBit } from '../../support/flip-bit.ts';
import { when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  importBase,
  named,
  type PersonaMachine,
  personaMachine,
  uploaded,
  wholeShare,
  writeBaseTree,
} from '../../support/personas.ts';

const whenRoot = when(test, { root: true, tools: ['bwrap', 'setpriv', 'prlimit', 'ionice'] });
const day = 24 * 3_600_000;
const never = new AbortController().signal;
const nothing = () => undefined;

function scrubOf(t: ExecutionContext, room: PersonasRoom, more: Partial<ScrubParts> = {}): Scrub {
  const parts = { room, log: silentLog, boot: 'this', everyMs: 30 * day, bytesPerSecond: 0 };
  const scrub = new Scrub({ ...parts, firstMs: 0, ...more });
  t.teardown(() => scrub.stop());
  return scrub;
}

/** A base `one` and a persona `work`, both whole. */
async function furnished(t: ExecutionContext) {
  const machine = await personaMachine(t);
  const tree = writeBaseTree(machine.folder);
  const base = await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const files = await keptFiles(machine.room);
  const of = (kind: KeptFile['kind']) => {
    const found = files.find((one) => one.kind === kind);
    if (found === undefined) throw new Error(`no ${kind}`);
    return { ...found, path: join(machine.state, found.file) };
  };
  return { machine, room: machine.room, base, tree, layer: of('layer'), persona: of('persona') };
}

/** The room as a daemon that was started anew has it, after its look at all files. */
async function startedAnew({ store, state }: PersonaMachine): Promise<PersonasRoom> {
  const room = await openPersonasRoom({
    store,
    paths: { state },
    space: { spareBytes: () => Number.MAX_SAFE_INTEGER },
    share: wholeShare,
    now: Date.now,
  });
  room.witnesses.lookAtAll(await keptFiles(room), Date.now());
  return room;
}

async function openBase(room: PersonasRoom, digest: string): Promise<void> {
  const source = personaSource(room);
  const { layers } = await source.base(digest);
  for (const layer of layers) (await source.open(layer)).close();
}

whenRoot('what was imported was hashed; after a boot it is hashed again, once', async (t) => {
  const { room } = await furnished(t);
  const files = await keptFiles(room);
  t.deepEqual(files.map(({ kind }) => kind).sort(), ['layer', 'persona']);
  const boot = room.witnesses.get(files[0]?.file ?? '')?.hashed?.boot ?? '';
  const same = scrubOf(t, room, { boot });
  t.deepEqual(
    files.filter(({ file }) => same.isDue(file)),
    [],
  );
  const next = scrubOf(t, room);
  t.true(files.every(({ file }) => next.isDue(file)));
  await next.start();
  await untilDone(next, files);
  for (const { file } of files) t.is(room.witnesses.get(file)?.hashed?.boot, 'this');
});

/** Waits until a round that comes by itself has read all of these. */
async function untilDone(scrub: Scrub, files: readonly KeptFile[]): Promise<void> {
  while (files.some(({ file }) => scrub.isDue(file)) || scrub.state().round !== undefined)
    await pause(10);
}

whenRoot('a bit that was turned with the same time and size is found', async (t) => {
  const { machine, room, base, layer, persona } = await furnished(t);
  flipBit(layer.path);
  flipBit(persona.path);
  const told: string[] = [];
  room.witnesses.whenDamaged((file) => told.push(file));
  const result = await scrubOf(t, room).ask(never, nothing);
  const problem = 'its bytes have changed';
  t.deepEqual(
    result.damaged.sort((a, b) => (a.file < b.file ? -1 : 1)),
    [
      { file: layer.file, problem },
      { file: persona.file, problem },
    ],
  );
  t.deepEqual(told.sort(), [layer.file, persona.file]);
  await t.throwsAsync(personaSource(room).persona('work'), { code: 'state-damaged' });
  await t.throwsAsync(openBase(room, base), { code: 'state-damaged' });
  const again = await startedAnew(machine);
  await t.throwsAsync(openBase(again, base), { code: 'state-damaged' }, 'a start changes nothing');
});

whenRoot(
  'a start sees what is not the file that it was, and has it hashed before it is mounted',
  async (t) => {
    const { machine, base, layer } = await furnished(t);
    const whole = join(machine.folder, 'whole');
    copyFileSync(layer.path, whole);

    const untouched = await startedAnew(machine);
    t.like(untouched.witnesses.looked, { files: 2, changed: 0, damaged: 0 });

    // Another inode with the same bytes.
    copyFileSync(layer.path, `${layer.path}.new`);
    chmodSync(`${layer.path}.new`, 0o400);
    renameSync(`${layer.path}.new`, layer.path);
    const replaced = await startedAnew(machine);
    t.like(replaced.witnesses.looked, { changed: 1, damaged: 0 });
    t.is(replaced.witnesses.get(layer.file)?.hashed, undefined);
    await openBase(replaced, base);
    t.like(
      (await startedAnew(machine)).witnesses.looked,
      { changed: 0 },
      'it is known from now on',
    );

    // The same inode with other bytes.
    flipBit(layer.path);
    const flipped = await startedAnew(machine);
    t.like(flipped.witnesses.looked, { changed: 1, damaged: 0 });
    const error = await t.throwsAsync(openBase(flipped, base), { code: 'state-damaged' });
    t.regex(error?.message ?? '', /its bytes have changed/);
    t.is(flipped.witnesses.problemOf(layer.file), 'its bytes have changed');

    // Cut off.
    truncateSync(layer.path, layer.bytes - 1);
    const short = await startedAnew(machine);
    t.like(short.witnesses.looked, { damaged: 1 });
    t.is(short.witnesses.problemOf(layer.file), 'it is too short');

    // Put back as it was.
    copyFileSync(whole, `${layer.path}.new`);
    chmodSync(`${layer.path}.new`, 0o400);
    renameSync(`${layer.path}.new`, layer.path);
    const back = await startedAnew(machine);
    t.like(back.witnesses.looked, { changed: 1, damaged: 0 });
    await openBase(back, base);
  },
);

whenRoot('a lost file is damage; the same content imported again mends it', async (t) => {
  const { machine, room, base, layer, tree } = await furnished(t);
  renameSync(layer.path, join(machine.folder, 'lost'));
  const { damaged } = await scrubOf(t, room).ask(never, nothing);
  t.deepEqual(damaged, [{ file: layer.file, problem: 'its file is not there' }]);
  await t.throwsAsync(openBase(room, base), { code: 'state-damaged' });
  t.is(await importBase(t, machine, 'again', tree), base);
  await openBase(room, base);
  t.deepEqual((await scrubOf(t, room).ask(never, nothing)).damaged, []);
});

whenRoot(
  'a scrub that was cut off goes on after a restart, and an abort ends it for good',
  async (t) => {
    const { machine, room } = await furnished(t);
    for (const name of ['two', 'three']) {
      const tree = writeBaseTree(machine.folder, name);
      writeFileSync(join(tree, 'etc/name'), name);
      await importBase(t, machine, name, tree);
    }
    const files = await keptFiles(room);
    const asked = () => machine.store.get("SELECT value FROM facts WHERE name = 'scrub-asked'");

    // After the first file nothing more is heard of it.
    const first = scrubOf(t, room, { everyMs: 0 });
    const cut = first.ask(never, () => {
      if (first.state().round?.filesDone === 1) throw new Error('cut off');
    });
    await t.throwsAsync(cut, { message: 'cut off' });
    t.truthy(await asked());
    const anew = await startedAnew(machine);
    const second = scrubOf(t, anew, { everyMs: 0 });
    await second.start();
    const left = files.filter(({ file }) => second.isDue(file));
    t.true(left.length > 0 && left.length < files.length, `${left.length} of ${files.length}`);
    const done = files.filter((one) => !left.includes(one));
    const before = done.map(({ file }) => anew.witnesses.get(file)?.hashed?.atMs);
    await untilDone(second, files);
    t.deepEqual(
      done.map(({ file }) => anew.witnesses.get(file)?.hashed?.atMs),
      before,
      'what was done is not done again',
    );
    await second.stop();
    t.is(await asked(), undefined);

    const stop = new AbortController();
    const third = scrubOf(t, anew, { everyMs: 0 });
    await t.throwsAsync(
      third.ask(stop.signal, () => stop.abort(new Error('enough'))),
      {
        message: 'enough',
      },
    );
    t.is(await asked(), undefined);
    t.deepEqual(
      files.filter(({ file }) => third.isDue(file)),
      [],
    );
  },
);

whenRoot('it stands aside while swaps run, and is behind everything else', async (t) => {
  const { machine, room } = await furnished(t);
  const tree = writeBaseTree(machine.folder, 'large');
  writeFileSync(join(tree, 'usr/large'), Buffer.alloc(8 << 20, 'large'));
  await importBase(t, machine, 'large', tree);
  // Slow enough that it still runs when it is looked at.
  const scrub = scrubOf(t, room, { bytesPerSecond: 1 << 20 });
  await scrub.start();
  const pid = await scrubberOf(process.pid);
  t.is(statusOf(pid).nice, '19');
  while (scrub.state().round === undefined) await pause(10);
  let swaps = true;
  scrub.swapBegins(() => swaps);
  t.like(scrub.state().round, { paused: true, asked: false });
  while (statusOf(pid).state !== 'T') await pause(10);
  swaps = false;
  while (statusOf(pid).state === 'T') await pause(10);
  t.like(scrub.state().round, { paused: false });
  // Whoever asks does not wait at that pace.
  const seen: Progress[] = [];
  const result = await scrub.ask(never, (progress) => seen.push(progress));
  t.deepEqual(result.damaged, []);
  t.true(result.files >= 3);
  t.is(seen.at(-1)?.done, seen.at(-1)?.total);
  t.is(scrub.state().round, undefined);
});

whenRoot('a damaged persona file is mended by an import of the very same file only', async (t) => {
  const { machine, room, persona } = await furnished(t);
  const exported = join(machine.folder, 'work.osp');
  copyFileSync(persona.path, exported);
  flipBit(persona.path);
  await scrubOf(t, room).ask(never, nothing);
  await t.throwsAsync(personaSource(room).persona('work'), { code: 'state-damaged' });
  const spoiled = join(machine.folder, 'spoiled.osp');
  copyFileSync(exported, spoiled);
  // Behind the last member: the same persona in other bytes.
  chmodSync(spoiled, 0o600);
  writeFileSync(spoiled, Buffer.alloc(512), { flag: 'a' });
  const other = await machine.run(planImport(room, { source: uploaded(machine, spoiled) }, 0));
  t.is(other.error?.code, 'state-damaged', JSON.stringify(other));
  const same = await machine.run(planImport(room, { source: uploaded(machine, exported) }, 0));
  t.is(same.status, 'done', JSON.stringify(same.error));
  t.is((await personaSource(room).persona('work')).layers.length, 2);
  t.deepEqual((await scrubOf(t, room).ask(never, nothing)).damaged, []);
});

/** The scrubber among the children of a process, when it runs its program. */
async function scrubberOf(parent: number): Promise<number> {
  for (;;) {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ');
    for (const pid of children.filter((one) => one !== '')) {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      const [program = ''] = words;
      if (/node$/.test(program) && words.some((word) => /scrubber/.test(word))) return Number(pid);
    }
    await pause(10);
  }
}

function statusOf(pid: number): { state: string; nice: string } {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const words = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: words[0] ?? '', nice: words[16] ?? '' };
}

whenRoot('with the period off nothing is read that nobody asked for', async (t) => {
  const { room } = await furnished(t);
  const scrub = scrubOf(t, room, { everyMs: 0 });
  await scrub.start();
  t.deepEqual(scrub.state(), {});
  const files = await keptFiles(room);
  t.deepEqual(
    files.filter(({ file }) => scrub.isDue(file)),
    [],
  );
  t.is((await scrub.ask(never, nothing)).files, files.length);
  t.deepEqual(scrub.state(), {});
});
