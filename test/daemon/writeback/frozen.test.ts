import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import {
  createGroup,
  type Hierarchy,
  moveProcess,
  readHierarchies,
  removeGroup,
} from '../../../daemon/kernel/cgroups.ts';
import { freezableIn, freezeFilesOf } from '../../../daemon/kernel/freezer.ts';
import { sharedIn } from '../../../daemon/kernel/shared-maps.ts';
import { sync } from '../../../daemon/writeback/sync.ts';
import { WriterFailed } from '../../../daemon/writeback/writer-child.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { servedHome } from './served-home.ts';

const hierarchies = process.getuid?.() === 0 ? readHierarchies() : [];
const ways: [string, Hierarchy | undefined][] = [
  ['version 2', freezableIn(hierarchies.filter(({ version }) => version === 2))],
  ['version 1', freezableIn(hierarchies.filter(({ version }) => version === 1))],
];

/** Writes a number into one file and then into the other, as fast as it can. */
const writer = `const fs=require('fs');const [,a,b]=process.argv;
const put=(f,n)=>fs.writeSync(f,String(n).padStart(12),0);
const x=fs.openSync(a,'w'),y=fs.openSync(b,'w');put(x,0);put(y,0);console.log('begun');
for(let n=1;;n++){put(x,n);put(y,n)}`;

async function groupOf(t: ExecutionContext, { at }: Hierarchy): Promise<string> {
  const group = `${at}/personad-test-${process.pid}`;
  createGroup(group);
  t.teardown(() => void removeGroup(group));
  return group;
}

/** A folder in memory with a program that writes in it, in a group of this hierarchy that can be stopped. */
async function writing(t: ExecutionContext, hierarchy: Hierarchy, limits = {}) {
  const home = await servedHome(t, limits);
  const group = await groupOf(t, hierarchy);
  const served = await home.writer(freezeFilesOf(hierarchy.version, group));
  await served.ask({ do: 'open', memory: home.partition, fill: true }, 'opened', 60_000);
  const files = ['a', 'b'].map((one) => `${home.memory}/${one}`);
  const program = partner(t, process.execPath, '-e', writer, ...files);
  t.is(await program.line(), 'begun');
  await moveProcess(group, program.process.pid!);
  const running = { populated: true, freezable: true, mapped: async () => new Set<string>() };
  return { home, served, program, files, running };
}

for (const [name, hierarchy] of ways) {
  const other = () => (hierarchy === undefined ? `no freezer of cgroup ${name}` : undefined);
  when(test, { root: true, other })(
    `cgroup ${name}: a program is taken at one moment`,
    async (t) => {
      const { home, served, program, files, running } = await writing(t, hierarchy!);
      for (let n = 1; n <= 3; n += 1) t.is((await sync(served, running, () => n)).files, 2);
      // It goes on.
      const before = readFileSync(files[0]!, 'latin1');
      while (readFileSync(files[0]!, 'latin1') === before);
      // Without a stop it is the moment of a pause, or none.
      const unstopped = { ...running, freezable: false };
      await sync(served, unstopped, () => 4).catch((error) =>
        t.true(error instanceof WriterFailed),
      );
      await program.end();
      await served.end();
      await (await home.recoverer()).ask({ do: 'finish' }, 'finished', 60_000);
      const [a, b] = ['a', 'b'].map((one) => Number(readFileSync(`${home.disk}/${one}`, 'latin1')));
      t.true(a! > 0);
      t.true(a === b || a === b! + 1, `${a} and ${b}`);
    },
  );

  when(test, { root: true, other })(
    `cgroup ${name}: a program that would stand still too long goes on, and the generation before stays`,
    async (t) => {
      const stopped = { frozenMsMax: 0 };
      const { served, program, running, files } = await writing(t, hierarchy!, stopped);
      await t.throwsAsync(
        sync(served, running, () => 1),
        { message: /busy/ },
      );
      const before = readFileSync(files[0]!, 'latin1');
      while (readFileSync(files[0]!, 'latin1') === before);
      await program.end();
      t.pass();
    },
  );
}

test('shared mappings of one file system are told from all others', (t) => {
  const maps = [
    '7f0-7f1 rw-s 00000000 00:2a 4 /run/persona/fast/x/file',
    '7f1-7f2 r--s 00000000 00:2a 5 /run/persona/fast/x/other (deleted)',
    '7f2-7f3 rw-p 00000000 00:2a 6 /run/persona/fast/x/private',
    '7f3-7f4 rw-s 00000000 00:2b 7 /elsewhere',
    '7f4-7f5 rw-p 00000000 00:00 0',
  ];
  t.deepEqual(sharedIn(maps.join('\n'), '0:42'), ['4', '5']);
});
