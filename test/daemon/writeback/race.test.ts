import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { KernelError } from '../../../daemon/kernel/errno.ts';
import { openFolder } from '../../../daemon/kernel/openat.ts';
import { TreeWatch } from '../../../daemon/kernel/tree-watch.ts';
import { FolderDisk } from '../../../daemon/writeback/folder-disk.ts';
import { recoverBox } from '../../../daemon/writeback/generations.ts';
import { MemoryFolder } from '../../../daemon/writeback/memory-folder.ts';
import { ServedFolder, takeQuiet } from '../../../daemon/writeback/served-folder.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

/** Puts a link in the place of a folder, and the folder back, so many times; who is written back may have made another one meanwhile. */
const swapper = `const fs=require('fs');const [,home,times]=process.argv;process.chdir(home);
const may=(what)=>{try{what();return true}catch{return false}};
console.log('begun');
for(let n=0;n<times;n++){
 may(()=>fs.renameSync('app/sub','was'));may(()=>fs.symlinkSync(home+'/outside','app/sub'));
 may(()=>fs.unlinkSync('app/sub'));
 if(!may(()=>fs.renameSync('was','app/sub')))fs.rmSync('was',{recursive:true,force:true})}
console.log('done')`;
const SWAPS = 100_000;

// As root, whom no mode keeps out: as a user, the writer could do less.
when(test, { root: true })(
  'a folder that becomes a link 10^5 times leads nowhere else',
  async (t) => {
    const home = temporaryFolder(t);
    for (const folder of ['app/sub', 'outside', 'memory/data', 'memory/taken'])
      mkdirSync(join(home, folder), { recursive: true });
    for (const folder of ['app/sub', 'outside']) writeFileSync(`${home}/${folder}/file`, 'old');
    using parent = openFolder(home);

    /** From the disk into memory, changed there, and back. */
    const round = (text: string): void => {
      const memory = `${home}/memory`;
      for (const name of ['data', 'taken']) {
        rmSync(`${memory}/${name}`, { recursive: true });
        mkdirSync(`${memory}/${name}`);
      }
      const disk = new FolderDisk(parent, 'app');
      try {
        recoverBox(disk);
      } finally {
        disk.close();
      }
      const served = new ServedFolder({
        ...{ parent, name: 'app' },
        place: openFolder(memory),
      });
      try {
        served.fill();
        // Where the link itself came into memory, only the program would follow it.
        if (lstatSync(`${memory}/data/sub`).isDirectory())
          for (const name of ['file', 'more']) writeFileSync(`${memory}/data/sub/${name}`, text);
        served.prepare();
        served.take([], Number.POSITIVE_INFINITY);
        served.save(1);
        served.finish();
      } finally {
        served.close();
      }
    };

    const program = partner(t, process.execPath, '-e', swapper, home, String(SWAPS));
    t.is(await program.line(), 'begun');
    let ended = false;
    const done = program.line().then(() => {
      ended = true;
    });
    const met = new Map<string, number>();
    while (!ended) {
      let how = 'written';
      try {
        round('new');
      } catch (error) {
        how = String((error as NodeJS.ErrnoException).code ?? error);
      }
      met.set(how, (met.get(how) ?? 0) + 1);
      await new Promise(setImmediate);
    }
    await done;
    t.log([...met].map(([how, count]) => `${how}: ${count}`).join(', '));
    t.deepEqual(readdirSync(`${home}/outside`), ['file']);
    t.is(readFileSync(`${home}/outside/file`, 'latin1'), 'old');
    mkdirSync(`${home}/app/sub`, { recursive: true });
    round('last');
    t.is(readFileSync(`${home}/app/sub/file`, 'latin1'), 'last');
  },
);

test.serial('what is moved while it is looked at is taken where it is then', (t) => {
  const home = temporaryFolder(t);
  for (const folder of ['app', 'memory/data', 'memory/taken'])
    mkdirSync(join(home, folder), { recursive: true });
  const memory = join(home, 'memory/data');
  writeFileSync(join(home, 'app/refs'), 'old');
  using parent = openFolder(home);
  const served = new ServedFolder({
    ...{ parent, name: 'app' },
    place: openFolder(join(home, 'memory')),
  });
  t.teardown(() => served.close());
  served.fill();
  // A program that is not stopped works after what has happened was read, and before it is looked at.
  const works = [
    () => writeFileSync(join(memory, 'refs'), 'new'),
    () => {
      writeFileSync(join(memory, 'packed'), 'new');
      rmSync(join(memory, 'refs'));
    },
  ];
  const { read } = TreeWatch.prototype;
  t.teardown(() => {
    TreeWatch.prototype.read = read;
  });
  TreeWatch.prototype.read = function (this: TreeWatch) {
    const events = read.call(this);
    works.shift()?.();
    return events;
  };
  writeFileSync(join(memory, 'refs'), 'newer');
  served.take([], Number.POSITIVE_INFINITY);
  takeQuiet([served]);
  t.is(works.length, 0);
  served.save(1);
  served.finish();
  t.deepEqual(readdirSync(join(home, 'app')), ['packed']);
});

for (const isFlooded of [false, true])
  test.serial(
    `what could not be looked at is taken by the next write-back${isFlooded ? ', also when news was lost' : ''}`,
    (t) => {
      const home = temporaryFolder(t);
      for (const folder of ['app/sub', 'memory/data', 'memory/taken'])
        mkdirSync(join(home, folder), { recursive: true });
      for (const name of ['file', 'sub/file', 'zero'])
        writeFileSync(join(home, 'app', name), 'old');
      const memory = join(home, 'memory/data');
      using parent = openFolder(home);
      const served = new ServedFolder({
        ...{ parent, name: 'app' },
        place: openFolder(join(home, 'memory')),
      });
      t.teardown(() => served.close());
      served.fill();
      const { add, read } = TreeWatch.prototype;
      t.teardown(() => Object.assign(TreeWatch.prototype, { add, read }));
      const save = () => {
        served.prepare();
        served.take([], Number.POSITIVE_INFINITY);
        takeQuiet([served]);
        served.save(1);
      };
      mkdirSync(join(memory, 'new'));
      for (const name of ['new/file', 'zero']) writeFileSync(join(memory, name), 'new');
      // The user has as many watches as he may have.
      TreeWatch.prototype.add = () => {
        throw new KernelError('inotify_add_watch', 'ENOSPC');
      };
      if (isFlooded)
        TreeWatch.prototype.read = function (this: TreeWatch) {
          read.call(this);
          TreeWatch.prototype.read = read;
          return undefined;
        };
      t.throws(save, { message: /cannot be watched/ });
      TreeWatch.prototype.add = add;
      save();
      served.finish();
      const texts = ['file', 'new/file', 'sub/file', 'zero'].map((name) => [
        name,
        readFileSync(join(home, 'app', name), 'latin1'),
      ]);
      t.deepEqual(Object.fromEntries(texts), {
        ...{ file: 'old', 'new/file': 'new' },
        ...{ 'sub/file': 'old', zero: 'new' },
      });
    },
  );

test.serial(
  'what goes or turns into something else while memory is compared is taken as it is then',
  (t) => {
    const home = temporaryFolder(t);
    for (const folder of ['app/sub', 'memory/data', 'memory/taken'])
      mkdirSync(join(home, folder), { recursive: true });
    const names = ['going', 'link', 'stays', 'sub/file'];
    for (const name of names) writeFileSync(join(home, 'app', name), 'old');
    using parent = openFolder(home);
    const open = (): ServedFolder => {
      const served = new ServedFolder({
        ...{ parent, name: 'app' },
        place: openFolder(join(home, 'memory')),
      });
      t.teardown(() => served.close());
      return served;
    };
    open().fill();
    const { scan } = MemoryFolder.prototype;
    t.teardown(() => {
      MemoryFolder.prototype.scan = scan;
    });
    // A program works after it is known what there is, and before that is read.
    MemoryFolder.prototype.scan = function (this: MemoryFolder, dirty: boolean) {
      scan.call(this, dirty);
      const memory = join(home, 'memory/data');
      for (const name of ['going', 'link', 'sub']) rmSync(join(memory, name), { recursive: true });
      symlinkSync('stays', join(memory, 'link'));
      writeFileSync(join(memory, 'sub'), 'new');
    };
    const served = open();
    served.takeUp();
    served.prepare();
    served.take([], Number.POSITIVE_INFINITY);
    takeQuiet([served]);
    served.save(1);
    served.finish();
    t.deepEqual(readdirSync(join(home, 'app')), ['link', 'stays', 'sub']);
    t.is(readlinkSync(join(home, 'app/link')), 'stays');
    t.is(readFileSync(join(home, 'app/sub'), 'latin1'), 'new');
  },
);
