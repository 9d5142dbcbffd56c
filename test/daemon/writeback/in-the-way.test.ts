import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { openFolder } from '../../../daemon/kernel/openat.ts';
import { FolderDisk } from '../../../daemon/writeback/folder-disk.ts';
import { commitGeneration, recoverBox } from '../../../daemon/writeback/generations.ts';
import { sync } from '../../../daemon/writeback/sync.ts';
import { run, when } from '../../support/needs.ts';
import { idle, servedHome, uid } from './served-home.ts';

const root = when(test, { root: true, tools: ['mount', 'mkfifo'] });
const deadline = 60_000;

/** What stands where a write-back wants to put something, and what becomes of that. */
interface Case {
  called: string;
  /** A program has worked in memory. */
  work(memory: string): void;
  /** Others have worked on the disk meanwhile. */
  others(disk: string, t: ExecutionContext): void;
  /** What lies beside the folder then: names and contents. */
  kept: Record<string, string>;
  stayed: number;
  look(t: ExecutionContext, disk: string): void;
}

const write = (folder: string, ...names: string[]): void => {
  for (const name of names) writeFileSync(`${folder}/${name}`, `new ${name}`);
};
const text = (path: string): string => readFileSync(path, 'latin1');

/** A program has worked in a folder that it has left alone itself, and beside it. */
const workInSub = (memory: string): void => {
  write(memory, 'sub/file', 'sub/in/deep', 'other');
  rmSync(`${memory}/sub/going`);
  mkdirSync(`${memory}/sub/fresh`);
};

const cases: Case[] = [
  {
    called: 'a file where a folder was',
    work: workInSub,
    others(disk) {
      renameSync(`${disk}/sub`, `${disk}/was`);
      writeFileSync(`${disk}/sub`, 'theirs');
    },
    kept: { file: 'new sub/file', deep: 'new sub/in/deep' },
    stayed: 1,
    look(t, disk) {
      t.is(text(`${disk}/sub`), 'theirs');
      t.is(text(`${disk}/other`), 'new other');
    },
  },
  {
    called: 'a link where a folder was',
    work: workInSub,
    others(disk) {
      renameSync(`${disk}/sub`, `${disk}/was`);
      symlinkSync('was', `${disk}/sub`);
    },
    kept: { file: 'new sub/file', deep: 'new sub/in/deep' },
    stayed: 1,
    look(t, disk) {
      t.deepEqual(readdirSync(`${disk}/was`), ['file', 'going', 'in']);
      for (const name of ['file', 'in/deep']) t.is(text(`${disk}/was/${name}`), `old sub/${name}`);
      t.is(text(`${disk}/other`), 'new other');
    },
  },
  {
    called: 'a link where a folder below was',
    work: workInSub,
    others(disk) {
      renameSync(`${disk}/sub/in`, `${disk}/was`);
      symlinkSync('../was', `${disk}/sub/in`);
    },
    kept: { deep: 'new sub/in/deep' },
    stayed: 0,
    look(t, disk) {
      t.is(text(`${disk}/was/deep`), 'old sub/in/deep');
      t.deepEqual(readdirSync(`${disk}/sub`), ['file', 'fresh', 'in']);
      for (const name of ['other', 'sub/file']) t.is(text(`${disk}/${name}`), `new ${name}`);
    },
  },
  {
    called: 'a mount over a folder',
    work(memory) {
      write(memory, 'sub/file', 'sub/more');
      rmSync(`${memory}/sub/going`);
      mkdirSync(`${memory}/sub/deep`);
    },
    others(disk) {
      run('mount', '-t', 'tmpfs', 'persona-test', `${disk}/sub`);
      writeFileSync(`${disk}/sub/file`, 'theirs');
    },
    kept: { file: 'new sub/file', more: 'new sub/more' },
    stayed: 2,
    look: (t, disk) => t.is(text(`${disk}/sub/file`), 'theirs'),
  },
  {
    called: 'a mount over a file',
    work: (memory) => write(memory, 'sub/file', 'sub/more'),
    others: (disk) => run('mount', '--bind', `${disk}/other`, `${disk}/sub/file`),
    kept: { file: 'new sub/file' },
    stayed: 0,
    look(t, disk) {
      t.is(text(`${disk}/other`), 'old other');
      t.is(text(`${disk}/sub/more`), 'new sub/more');
    },
  },
  {
    called: 'a pipe and a socket',
    work(memory) {
      mkdirSync(`${memory}/socket`);
      write(memory, 'pipe', 'socket/in', 'sub/more');
    },
    others(disk, t) {
      run('mkfifo', `${disk}/pipe`);
      const server = createServer().listen(`${disk}/socket`);
      t.teardown(() => void server.close());
    },
    kept: { pipe: 'new pipe', in: 'new socket/in' },
    stayed: 1,
    look(t, disk) {
      t.true(statSync(`${disk}/pipe`).isFIFO());
      t.true(statSync(`${disk}/socket`).isSocket());
      t.is(text(`${disk}/sub/more`), 'new sub/more');
    },
  },
  {
    called: 'nothing where the file of a further name was',
    work: (memory) => linkSync(`${memory}/other`, `${memory}/sub/twin`),
    others: (disk) => rmSync(`${disk}/other`),
    kept: {},
    stayed: 0,
    look(t, disk) {
      t.is(text(`${disk}/sub/twin`), 'old other');
      t.false(existsSync(`${disk}/other`));
    },
  },
  {
    called: 'a folder of root for both names of a file',
    work(memory) {
      write(memory, 'theirs/one');
      linkSync(`${memory}/theirs/one`, `${memory}/theirs/two`);
    },
    others: () => undefined,
    kept: { one: 'new theirs/one', two: 'new theirs/one' },
    stayed: 0,
    look: (t, disk) => t.deepEqual(readdirSync(`${disk}/theirs`), []),
  },
];

for (const { called, work, others, kept, stayed, look } of cases)
  root(`a write-back comes to its end where it finds ${called}`, async (t) => {
    const home = await servedHome(t);
    const { disk, memory, partition } = home;
    for (const name of ['sub', 'sub/in', 'theirs']) mkdirSync(`${disk}/${name}`);
    for (const name of ['other', 'sub/file', 'sub/going', 'sub/in/deep'])
      writeFileSync(`${disk}/${name}`, `old ${name}`);
    execFileSync('chown', ['-R', `${uid}:${uid}`, disk]);
    chownSync(`${disk}/theirs`, 0, 0);
    const first = await home.writer();
    const open = { do: 'open' as const, memory: partition };
    await first.ask({ ...open, fill: true }, 'opened', deadline);
    await first.end();
    work(memory);
    execFileSync('chown', ['-R', `${uid}:${uid}`, memory]);
    // One that was not there knows further names from what is there.
    const writer = await home.writer();
    await writer.ask({ ...open, fill: false }, 'opened', deadline);
    await sync(writer, idle, () => 1000);
    others(disk, t);
    const count = Object.keys(kept).length;
    t.like(await writer.ask({ do: 'finish' }, 'finished', deadline), { kept: count, stayed });
    const box = `${home.home}/.persona-app`;
    const aside = existsSync(box) ? readdirSync(box) : [];
    t.deepEqual(
      Object.fromEntries(aside.map((name) => [name.replace(/.*-/, ''), text(`${box}/${name}`)])),
      kept,
    );
    look(t, disk);
    const next = await home.recoverer();
    t.deepEqual(await next.ask({ do: 'finish' }, 'finished', deadline), {
      ...{ said: 'finished', kept: 0, stayed: 0 },
    });
  });

root(
  'a further name that an earlier version has written down is made where it can be',
  async (t) => {
    const { home, disk } = await servedHome(t);
    writeFileSync(`${disk}/there`, 'old');
    using parent = openFolder(home);
    const folder = new FolderDisk(parent, 'app');
    t.teardown(() => folder.close());
    folder.makeBox();
    const changes = ['there', 'gone'].map((to) => ({
      ...{ type: 'link' as const, path: `of ${to}`, to, was: null },
    }));
    commitGeneration(folder, { number: 1, takenMs: 1000, changes });
    t.like(recoverBox(folder), { generation: 1, kept: [], stayed: ['of gone'] });
    t.is(statSync(`${disk}/of there`).ino, statSync(`${disk}/there`).ino);
  },
);
