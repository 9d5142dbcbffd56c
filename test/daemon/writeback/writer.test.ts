import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import test from 'ava';
import { blobsOf, readGeneration } from '../../../daemon/writeback/manifest.ts';
import { sync } from '../../../daemon/writeback/sync.ts';
import type { WriterChild } from '../../../daemon/writeback/writer-child.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { idle, type ServedHome, servedHome, uid } from './served-home.ts';

const root = when(test, { root: true });
const deadline = 60_000;
const boxOf = ({ home }: ServedHome): string => `${home}/.persona-app`;

const open = ({ partition: memory }: ServedHome, writer: WriterChild, fill = true) =>
  writer.ask({ do: 'open', memory, fill }, 'opened', deadline);
/** The generations in the box. */
function generationsOf(home: ServedHome) {
  const box = boxOf(home);
  const all = readdirSync(box).filter((name) => name.endsWith('.generation'));
  return all.flatMap((name) => readGeneration(readFileSync(`${box}/${name}`, 'latin1')) ?? []);
}

/** What a generation has of a file. */
function savedAs(home: ServedHome, takenMs: number, path: string): string {
  const change = generationsOf(home)
    .find((one) => one.takenMs === takenMs)
    ?.changes.find((one) => one.path === path);
  if (change?.type !== 'file') throw new Error(`${path} is not in it`);
  return readFileSync(`${boxOf(home)}/${change.blob}`, 'latin1');
}
const finish = (writer: WriterChild) => writer.ask({ do: 'finish' }, 'finished', deadline);
const save = (writer: WriterChild) => sync(writer, idle, () => 1000);

root('a folder comes into memory and back with all that it has', async (t) => {
  const home = await servedHome(t);
  const { disk, memory } = home;
  mkdirSync(`${disk}/deep/er`, { recursive: true });
  for (const name of ['plain', 'deep/er/one', 'twin', 'going', 'locked'])
    writeFileSync(`${disk}/${name}`, `old ${name}`);
  linkSync(`${disk}/twin`, `${disk}/deep/twin`);
  symlinkSync('plain', `${disk}/link`);
  writeFileSync(`${disk}/sparse`, '');
  truncateSync(`${disk}/sparse`, 30 << 20);
  utimesSync(`${disk}/plain`, 1000, 2000.5);
  execFileSync('chown', ['-hR', `${uid}:${uid}`, disk]);
  chmodSync(`${disk}/plain`, 0o640);
  chownSync(`${disk}/locked`, 0, 0);
  chmodSync(`${disk}/locked`, 0o600);
  const server = createServer().listen(`${disk}/socket`);
  t.teardown(() => void server.close());
  const writer = await home.writer();
  const opened = await open(home, writer);
  t.is(opened.files, 5);
  t.is(opened.skipped, 2);
  t.is(readFileSync(`${memory}/deep/er/one`, 'latin1'), 'old deep/er/one');
  t.is(statSync(`${memory}/twin`).ino, statSync(`${memory}/deep/twin`).ino);
  t.is(statSync(`${memory}/plain`).mode & 0o777, 0o640);
  t.is(statSync(`${memory}/plain`).mtimeMs, 2_000_500);
  t.true(statSync(`${memory}/sparse`).blocks < 100);
  t.is(readlinkSync(`${memory}/link`), 'plain');
  t.false(existsSync(`${memory}/locked`));

  appendFileSync(`${memory}/twin`, ' and new');
  rmSync(`${memory}/going`);
  renameSync(`${memory}/deep/er`, `${memory}/moved`);
  rmSync(`${memory}/link`);
  symlinkSync('elsewhere', `${memory}/link`);
  mkdirSync(`${memory}/fresh`, { mode: 0o750 });
  writeFileSync(`${memory}/fresh/file`, 'fresh');
  linkSync(`${memory}/plain`, `${memory}/fresh/plain`);
  for (const at of ['moved', 'fresh', 'fresh/file', 'link'])
    execFileSync('chown', ['-h', `${uid}:${uid}`, `${memory}/${at}`]);
  await save(writer);
  t.is(readFileSync(`${disk}/twin`, 'latin1'), 'old twin');
  t.deepEqual(await finish(writer), { said: 'finished', kept: 0, stayed: 0, takenMs: 1000 });
  t.is(readFileSync(`${disk}/twin`, 'latin1'), 'old twin and new');
  t.is(statSync(`${disk}/twin`).ino, statSync(`${disk}/deep/twin`).ino);
  t.false(existsSync(`${disk}/going`));
  t.false(existsSync(`${disk}/deep/er`));
  t.is(readFileSync(`${disk}/moved/one`, 'latin1'), 'old deep/er/one');
  t.is(readlinkSync(`${disk}/link`), 'elsewhere');
  t.is(statSync(`${disk}/fresh`).mode & 0o777, 0o750);
  t.is(statSync(`${disk}/fresh/plain`).ino, statSync(`${disk}/plain`).ino);
  t.is(statSync(`${disk}/fresh/file`).uid, uid);
  t.is(readFileSync(`${disk}/locked`, 'latin1'), 'old locked');
  t.true(existsSync(`${disk}/socket`));
  t.false(existsSync(boxOf(home)));
});

root('nothing is written where nothing was changed', async (t) => {
  const home = await servedHome(t);
  writeFileSync(`${home.disk}/file`, 'old');
  const writer = await home.writer();
  await open(home, writer);
  const { files } = await save(writer);
  t.is(files, 0);
  t.false(existsSync(boxOf(home)));
  await finish(writer);
  t.is(readFileSync(`${home.disk}/file`, 'latin1'), 'old');
});

root('what was changed on the disk is told each time it is asked for', async (t) => {
  const home = await servedHome(t);
  writeFileSync(`${home.disk}/file`, 'old');
  const writer = await home.writer();
  await open(home, writer);
  const same = async () => (await writer.ask({ do: 'verify' }, 'verified', deadline)).same;
  t.is(await same(), 1);
  mkdirSync(`${home.disk}/folder`);
  for (let n = 0; n < 2; n += 1) t.is(await same(), 0);
  rmSync(`${home.disk}/folder`, { recursive: true });
  t.is(await same(), 1, 'compared');
  await finish(writer);
});

root('two generations are kept, and no more', async (t) => {
  const home = await servedHome(t);
  const writer = await home.writer();
  await open(home, writer);
  for (let n = 1; n <= 5; n += 1) {
    writeFileSync(`${home.memory}/file`, `state ${n}`);
    await save(writer);
  }
  const names = readdirSync(boxOf(home)).sort();
  t.deepEqual(
    names.filter((name) => name.endsWith('.generation')),
    ['4.generation', '5.generation'],
  );
  t.is(names.length, 4);
});

root('the box keeps no file that a program has replaced, or removed, for good', async (t) => {
  const home = await servedHome(t);
  const { disk, memory } = home;
  for (const name of ['state', 'away']) writeFileSync(`${disk}/${name}`, 'old');
  const writer = await home.writer();
  await open(home, writer);
  const blobs = () => readdirSync(boxOf(home)).filter((name) => name.startsWith('file-'));
  writeFileSync(`${memory}/away`, 'changed');
  for (let n = 1; n <= 40; n += 1) {
    writeFileSync(`${memory}/state.part`, `state ${n}`);
    renameSync(`${memory}/state.part`, `${memory}/state`);
    await save(writer);
    t.deepEqual(blobs().sort(), [...blobsOf(generationsOf(home)).keys()].sort());
  }
  rmSync(`${memory}/state`);
  // Out of the folder, and back: it is taken anew.
  renameSync(`${memory}/away`, `${home.partition}/away`);
  for (const name of ['one', 'two']) {
    mkdirSync(`${memory}/${name}`);
    await save(writer);
  }
  t.deepEqual(blobs(), []);
  renameSync(`${home.partition}/away`, `${memory}/back`);
  await save(writer);
  await finish(writer);
  t.deepEqual(readdirSync(disk), ['back', 'one', 'two']);
  t.is(readFileSync(`${disk}/back`, 'latin1'), 'changed');
});

root('a writer that is killed is followed by one that takes up what memory has', async (t) => {
  const home = await servedHome(t);
  for (const name of ['same', 'edited', 'going']) {
    writeFileSync(`${home.disk}/${name}`, `old ${name}`);
    chownSync(`${home.disk}/${name}`, uid, uid);
  }
  const first = await home.writer();
  await open(home, first);
  writeFileSync(`${home.memory}/edited`, 'new edited');
  await save(first);
  await first.end();
  writeFileSync(`${home.memory}/edited`, 'newer edit');
  rmSync(`${home.memory}/going`);
  const second = await home.writer();
  await open(home, second, false);
  await save(second);
  await finish(second);
  t.deepEqual(
    readdirSync(home.disk).map((name) => readFileSync(`${home.disk}/${name}`, 'latin1')),
    ['newer edit', 'old same'],
  );
});

/** What the first of two writers knew; the record of it is lost, damaged, or there. */
const records: [called: string, spoil: (record: string) => void][] = [
  ['there', () => undefined],
  ['lost', (record) => rmSync(record)],
  ['damaged', (record) => appendFileSync(record, 'x')],
];
for (const [called, spoil] of records)
  root(`what others do on the disk outlives a writer whose record is ${called}`, async (t) => {
    const home = await servedHome(t);
    const { disk, memory, partition } = home;
    for (const name of ['shared', 'both', 'gone', 'mine']) writeFileSync(`${disk}/${name}`, 'old');
    execFileSync('chown', ['-R', `${uid}:${uid}`, disk]);
    const first = await home.writer();
    await open(home, first);
    writeFileSync(`${disk}/mail`, 'theirs');
    for (const name of ['shared', 'both']) writeFileSync(`${disk}/${name}`, 'theirs');
    for (const name of ['both', 'mine']) writeFileSync(`${memory}/${name}`, 'ours');
    rmSync(`${memory}/gone`);
    await save(first);
    await first.end();
    spoil(`${partition}/0/base`);
    const second = await home.writer();
    await open(home, second, false);
    await save(second);
    const { kept, stayed } = await finish(second);
    const text = (name: string) => readFileSync(`${disk}/${name}`, 'latin1');
    const aside = () =>
      readdirSync(boxOf(home)).map((name) => [
        name.replace(/.*-/, ''),
        readFileSync(`${boxOf(home)}/${name}`, 'latin1'),
      ]);
    t.deepEqual(readdirSync(disk), ['both', 'mail', 'mine', 'shared']);
    t.deepEqual(['both', 'mail', 'mine'].map(text), ['ours', 'theirs', 'ours']);
    t.is(stayed, 0);
    if (called === 'there') {
      t.is(text('shared'), 'theirs');
      t.deepEqual(aside(), [['both', 'theirs']]);
      t.is(kept, 1);
    } else
      t.deepEqual(aside().sort(), [
        ['both', 'theirs'],
        ['shared', 'theirs'],
      ]);
  });

root('what only the attributes tell comes to the disk after another writer, too', async (t) => {
  const home = await servedHome(t);
  const names = ['mode', 'time', 'same'];
  for (const name of names) writeFileSync(`${home.disk}/${name}`, 'old');
  execFileSync('chown', ['-R', `${uid}:${uid}`, home.disk]);
  const before = statSync(`${home.disk}/same`).ino;
  const first = await home.writer();
  await open(home, first);
  await first.end();
  chmodSync(`${home.memory}/mode`, 0o750);
  utimesSync(`${home.memory}/time`, 1000, 2000);
  const second = await home.writer();
  await open(home, second, false);
  await save(second);
  await finish(second);
  t.is(statSync(`${home.disk}/mode`).mode & 0o777, 0o750);
  t.is(statSync(`${home.disk}/time`).mtimeMs, 2_000_000);
  t.is(statSync(`${home.disk}/same`).ino, before);
});

for (const [when, apply] of [
  ['before', false],
  ['after', true],
] as const)
  root(`memory goes on being used where an end was cut off ${when} it was done`, async (t) => {
    const home = await servedHome(t);
    const { disk, memory, partition } = home;
    for (const name of ['edited', 'gone', 'later']) writeFileSync(`${disk}/${name}`, 'old');
    execFileSync('chown', ['-R', `${uid}:${uid}`, disk]);
    const first = await home.writer();
    await open(home, first);
    writeFileSync(`${memory}/edited`, 'new');
    rmSync(`${memory}/gone`);
    await save(first);
    await first.end();
    const ending = { do: 'finish' as const, memory: partition };
    if (apply) await (await home.recoverer()).ask(ending, 'finished', deadline);
    t.is(existsSync(`${partition}/0/base`), !apply);
    rmSync(`${partition}/0/base`, { force: true });
    const second = await home.writer();
    await open(home, second, false);
    for (const name of ['edited', 'later']) writeFileSync(`${memory}/${name}`, 'newer');
    await save(second);
    t.like(await second.ask(ending, 'finished', deadline), { kept: 0, stayed: 0 });
    t.deepEqual(readdirSync(disk), ['edited', 'later']);
    for (const name of ['edited', 'later'])
      t.is(readFileSync(`${disk}/${name}`, 'latin1'), 'newer');
    t.false(existsSync(boxOf(home)));
  });

root('a writer that has not all folders in memory writes nothing back', async (t) => {
  const home = await servedHome(t, { folders: ['app', 'more'] });
  await open(home, await home.writer());
  writeFileSync(`${home.memory}/file`, 'written');
  const shut = `${home.partition}/1`;
  chownSync(shut, 0, 0);
  chmodSync(shut, 0o700);
  const writer = await home.writer();
  await t.throwsAsync(open(home, writer, false), { message: /EACCES/ });
  const message = 'its folders are not open in memory';
  await t.throwsAsync(writer.ask({ do: 'prepare' }, 'prepared', deadline), { message });
  const take = { do: 'take' as const, mapped: [], freeze: false };
  await t.throwsAsync(writer.ask(take, 'taken', deadline), { message });
  await t.throwsAsync(writer.ask({ do: 'save', takenMs: 1 }, 'saved', deadline), { message });
  t.false(existsSync(boxOf(home)));
});

root('what a crash has left is brought into the folder, once', async (t) => {
  const home = await servedHome(t);
  const writer = await home.writer();
  await open(home, writer);
  writeFileSync(`${home.memory}/file`, 'written');
  await save(writer);
  writeFileSync(`${home.memory}/file`, 'not written');
  await writer.end();
  const next = await home.recoverer();
  t.deepEqual(await finish(next), { said: 'finished', kept: 0, stayed: 0, takenMs: 1000 });
  t.is(readFileSync(`${home.disk}/file`, 'latin1'), 'written');
  t.deepEqual(await finish(next), { said: 'finished', kept: 0, stayed: 0 });
});

root('a damaged generation gives way to the one before it', async (t) => {
  const home = await servedHome(t);
  const writer = await home.writer();
  await open(home, writer);
  for (const n of [1, 2]) {
    writeFileSync(`${home.memory}/file`, `state ${n}`);
    await save(writer);
  }
  await writer.end();
  appendFileSync(`${boxOf(home)}/2.generation`, 'x');
  await finish(await home.recoverer());
  t.is(readFileSync(`${home.disk}/file`, 'latin1'), 'state 1');
});

for (const [both, called] of [
  ['both', 'a name'],
  ['é'.repeat(127), 'the longest name'],
])
  root(
    `what others have written at ${called} meanwhile is put aside, never overwritten`,
    async (t) => {
      const home = await servedHome(t);
      for (const name of [both, 'theirs']) writeFileSync(`${home.disk}/${name}`, 'old');
      execFileSync('chown', ['-R', `${uid}:${uid}`, home.disk]);
      const writer = await home.writer();
      await open(home, writer);
      writeFileSync(`${home.memory}/${both}`, 'ours');
      rmSync(`${home.memory}/theirs`);
      for (const name of [both, 'theirs'])
        writeFileSync(`${home.disk}/${name}`, 'changed by others');
      await save(writer);
      const { kept, stayed } = await finish(writer);
      t.deepEqual({ kept, stayed }, { kept: 1, stayed: 1 });
      t.is(readFileSync(`${home.disk}/${both}`, 'latin1'), 'ours');
      t.is(readFileSync(`${home.disk}/theirs`, 'latin1'), 'changed by others');
      const aside = readdirSync(boxOf(home));
      t.is(aside.length, 1);
      t.is(readFileSync(`${boxOf(home)}/${aside[0]}`, 'latin1'), 'changed by others');
    },
  );

root('a folder that becomes a link leads a write-back nowhere else', async (t) => {
  const home = await servedHome(t);
  const outside = `${home.home}/outside`;
  mkdirSync(outside);
  writeFileSync(`${outside}/file`, 'untouched');
  mkdirSync(`${home.disk}/sub`);
  execFileSync('chown', ['-R', `${uid}:${uid}`, home.home]);
  writeFileSync(`${home.disk}/sub/file`, 'old');
  const writer = await home.writer();
  await open(home, writer);
  writeFileSync(`${home.memory}/sub/file`, 'new');
  await save(writer);
  renameSync(`${home.disk}/sub`, `${home.disk}/was`);
  symlinkSync(outside, `${home.disk}/sub`);
  t.like(await finish(writer), { kept: 1, stayed: 0 });
  t.is(readFileSync(`${outside}/file`, 'latin1'), 'untouched');
  const [aside, ...more] = readdirSync(boxOf(home));
  t.is(readFileSync(`${boxOf(home)}/${aside}`, 'latin1'), 'new');
  t.deepEqual(more, []);
  // In memory it is a link like any other.
  rmSync(`${home.memory}/sub`, { recursive: true });
  symlinkSync(outside, `${home.memory}/sub`);
  await save(writer);
  t.is(readFileSync(`${outside}/file`, 'latin1'), 'untouched');
});

root('what nobody may write, or not even read, comes to the disk all the same', async (t) => {
  const home = await servedHome(t);
  const { disk, memory } = home;
  for (const name of ['shut', 'theirs']) mkdirSync(`${disk}/${name}`);
  for (const name of ['shut/file', 'shut/gone', 'theirs/file'])
    writeFileSync(`${disk}/${name}`, 'old');
  execFileSync('chown', ['-R', `${uid}:${uid}`, disk]);
  chmodSync(`${disk}/shut`, 0o555);
  chownSync(`${disk}/theirs`, 0, 0);
  const writer = await home.writer();
  await open(home, writer);
  // As a program does that opens a folder of its own for a moment.
  rmSync(`${memory}/shut/gone`);
  for (const name of ['shut/file', 'shut/more', 'theirs/file', 'hidden'])
    writeFileSync(`${memory}/${name}`, `new ${name}`);
  mkdirSync(`${memory}/fresh/in`, { recursive: true });
  writeFileSync(`${memory}/fresh/in/file`, 'new fresh');
  execFileSync('chown', ['-R', `${uid}:${uid}`, memory]);
  chmodSync(`${memory}/fresh/in`, 0o555);
  chmodSync(`${memory}/fresh`, 0);
  chmodSync(`${memory}/hidden`, 0);
  await save(writer);
  t.like(await finish(writer), { kept: 1, stayed: 0 });
  const text = (path: string) => readFileSync(`${disk}/${path}`, 'latin1');
  const mode = (path: string) => statSync(`${disk}/${path}`).mode & 0o777;
  t.deepEqual(readdirSync(`${disk}/shut`), ['file', 'more']);
  t.is(text('shut/file'), 'new shut/file');
  t.is(mode('shut'), 0o555);
  t.is(text('fresh/in/file'), 'new fresh');
  t.is(mode('fresh/in'), 0o555);
  t.is(mode('fresh'), 0o500, 'its user may read it');
  t.is(text('hidden'), 'new hidden');
  t.is(mode('hidden'), 0o400);
  // The folder is not the user's: what he wrote there is beside it.
  t.is(text('theirs/file'), 'old');
  const [aside] = readdirSync(boxOf(home));
  t.is(readFileSync(`${boxOf(home)}/${aside}`, 'latin1'), 'new theirs/file');
  // All is said and done: it may start again.
  await finish(await home.recoverer());
});

root('with a full disk the generation before stays, and the next try has everything', async (t) => {
  const home = await servedHome(t, { diskBytes: 4 << 20 });
  const writer = await home.writer();
  await open(home, writer);
  writeFileSync(`${home.memory}/small`, 'first');
  await save(writer);
  writeFileSync(`${home.home}/filler`, Buffer.alloc(3 << 20, 1));
  writeFileSync(`${home.memory}/big`, Buffer.alloc(2 << 20, 2));
  await t.throwsAsync(save(writer), { message: /ENOSPC/ });
  t.true(existsSync(`${boxOf(home)}/1.generation`));
  rmSync(`${home.home}/filler`);
  await save(writer);
  await finish(writer);
  t.is(readFileSync(`${home.disk}/small`, 'latin1'), 'first');
  t.true(readFileSync(`${home.disk}/big`).equals(Buffer.alloc(2 << 20, 2)));
});

root('where memory is full, copies go to the disk at once', async (t) => {
  const home = await servedHome(t, { memoryBytes: 4 << 20 });
  const writer = await home.writer();
  await open(home, writer);
  writeFileSync(`${home.memory}/big`, Buffer.alloc(3 << 20, 3));
  await save(writer);
  await finish(writer);
  t.true(readFileSync(`${home.disk}/big`).equals(Buffer.alloc(3 << 20, 3)));
});

when(test, { root: true, tools: ['python3'] })(
  'what is written through a mapping is seen, while it is mapped and after',
  async (t) => {
    const home = await servedHome(t);
    writeFileSync(`${home.disk}/mapped`, 'a'.repeat(4096));
    const writer = await home.writer();
    await open(home, writer);
    const script = `import mmap,sys
f=open(sys.argv[1],'r+b');m=mmap.mmap(f.fileno(),0);f.close()
print('mapped',flush=True)
for line in sys.stdin:
    if line.strip()=='end': m.close()
    else: m[0:1]=line[0:1].encode()
    print('done',flush=True)`;
    const program = partner(t, 'python3', '-c', script, `${home.memory}/mapped`);
    t.is(await program.line(), 'mapped');
    const inode = String(statSync(`${home.memory}/mapped`).ino);
    const mapped = async () => new Set([inode]);
    const written = async (line: string) => {
      program.say(line);
      t.is(await program.line(), 'done');
    };
    await written('b');
    const running = async () => ({ populated: true, freezable: true, mapped });
    t.is((await sync(writer, running, () => 1)).files, 1);
    t.is((await sync(writer, running, () => 2)).files, 0);
    await written('c');
    await written('end');
    t.is((await sync(writer, idle, () => 3)).files, 1);
    await finish(writer);
    t.is(readFileSync(`${home.disk}/mapped`, 'latin1'), `c${'a'.repeat(4095)}`);
  },
);

/** Opens `log`, lets it have the name `log.1` only, and writes on: each line that it reads. */
const rotating = `exec 3>>"$1/log"; ln "$1/log" "$1/log.1"; rm "$1/log"; echo rotated
while read -r line; do
  if [ "$line" = close ]; then exec 3>&-; else echo "$line" >&3; fi
  echo done
done`;
const rotatings: [called: string, hasLog: boolean, restarts: boolean][] = [
  ['was there before', true, false],
  ['is new', false, false],
  ['was there before another writer', true, true],
];
for (const [called, hasLog, restarts] of rotatings)
  root(`what is written under a name that has gone comes to the disk: it ${called}`, async (t) => {
    const home = await servedHome(t);
    if (hasLog) writeFileSync(`${home.disk}/log`, 'old\n');
    writeFileSync(`${home.disk}/other`, 'old');
    execFileSync('chown', ['-R', `${uid}:${uid}`, home.disk]);
    let writer = await home.writer();
    await open(home, writer);
    const program = partner(t, 'sh', '-c', rotating, 'sh', home.memory);
    t.is(await program.line(), 'rotated');
    chownSync(`${home.memory}/log.1`, uid, uid);
    const told = async (line: string) => {
      program.say(line);
      t.is(await program.line(), 'done');
    };
    const mapped = async () => new Set<string>();
    const running = async () => ({ populated: true, freezable: true, mapped });
    await sync(writer, running, () => 1);
    if (restarts) {
      await writer.end();
      writer = await home.writer();
      await open(home, writer, false);
    }
    await told('one');
    await sync(writer, running, () => 2);
    t.is(savedAs(home, 2, 'log.1'), hasLog ? 'old\none\n' : 'one\n');
    await told('two');
    await told('close');
    await sync(writer, idle, () => 3);
    t.is((await sync(writer, idle, () => 4)).files, 0, 'nobody can write any more');
    await finish(writer);
    t.deepEqual(readdirSync(home.disk), ['log.1', 'other']);
    t.is(readFileSync(`${home.disk}/log.1`, 'latin1'), `${hasLog ? 'old\n' : ''}one\ntwo\n`);
  });

root('a writer that is killed at any time leaves a whole generation', async (t) => {
  const home = await servedHome(t);
  const names = ['a', 'b', 'c', 'sub/d'];
  mkdirSync(`${home.disk}/sub`);
  for (const name of names) writeFileSync(`${home.disk}/${name}`, '0');
  execFileSync('chown', ['-R', `${uid}:${uid}`, home.disk]);
  const first = await home.writer();
  await open(home, first);
  await first.end();
  let saved = 0;
  for (let round = 1; round <= 4; round += 1) {
    const writer = await home.writer();
    await open(home, writer, false);
    const before = saved;
    for (const name of names) writeFileSync(`${home.memory}/${name}`, String(round));
    const syncing = save(writer).then(
      () => {
        saved = round;
      },
      () => undefined,
    );
    // Later in each round: somewhere in it the writer is gone.
    for (let turns = round * 75; turns > 0; turns -= 1) await new Promise(setImmediate);
    await Promise.all([writer.end(), syncing]);
    const recoverer = await home.recoverer();
    await recoverer.ask({ do: 'finish', memory: home.partition }, 'finished', deadline);
    const found = new Set(names.map((name) => readFileSync(`${home.disk}/${name}`, 'latin1')));
    t.is(found.size, 1);
    t.true([before, saved, round].includes(Number([...found][0])));
    t.true(Number([...found][0]) >= saved);
  }
});
