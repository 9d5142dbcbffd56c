import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { Ways } from '../../../daemon/kernel/probe.ts';
import {
  imageOf,
  imageOfTree,
  partner,
  scratchFolder,
  unmountBelow,
} from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { layerFrom, startBench, twoPersonas } from '../../support/slots.ts';

const rooted = when(test, { root: true, tools: ['mkfs.erofs', 'setcap', 'setpriv'] });
const OWNER = 1234;
const STRANGER = 4321;

/** Every way a kernel may need, each forced on this one. */
const WAYS: Partial<Ways>[] = [
  {},
  { lowers: 'path' },
  { lowers: 'staging' },
  { erofs: 'loop' },
  { flip: 'symlink' },
  { flip: 'symlink', lowers: 'staging', erofs: 'loop' },
];

function hostileTree(folder: string): string {
  const tree = `${folder}/hostile`;
  mkdirSync(tree);
  for (const name of ['suid', 'cap']) copyFileSync('/usr/bin/id', `${tree}/${name}`);
  run('chmod', '6755', `${tree}/suid`);
  run('chmod', '755', `${tree}/cap`);
  run('setcap', 'cap_setuid,cap_dac_override+ep', `${tree}/cap`);
  run('mknod', '-m', '666', `${tree}/disk`, 'c', '1', '5');
  return imageOfTree(tree, `${folder}/hostile.erofs`);
}

function as(uid: number, ...command: string[]): string {
  const ids = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups'];
  return run('setpriv', ...ids, ...command).trim();
}

/** The three gifts of a hostile author give the slot's owner nothing, and strangers do not even see them. */
function harmless(t: ExecutionContext, tree: string, when_: string): void {
  t.is(statSync(`${tree}/suid`).mode & 0o7777, 0o6755, when_);
  t.is(as(OWNER, `${tree}/suid`, '-u'), `${OWNER}`, when_);
  t.is(as(OWNER, `${tree}/suid`, '-g'), `${OWNER}`, when_);
  const powers = as(OWNER, 'sh', '-c', `${tree}/cap -u; grep CapEff /proc/self/status`);
  t.regex(powers, new RegExp(`^${OWNER}\\nCapEff:\\s+0+$`), when_);
  t.throws(() => as(OWNER, 'head', '-c1', `${tree}/disk`), { message: /Permission denied/ }, when_);
  t.throws(() => as(STRANGER, 'stat', `${tree}/suid`), { message: /Permission denied/ }, when_);
}

for (const ways of WAYS) {
  rooted(
    `set-id, capabilities and devices are dead in a slot: ${JSON.stringify(ways)}`,
    async (t) => {
      const folder = scratchFolder(t);
      const hostile = layerFrom(hostileTree(folder), 'diff');
      const personas = twoPersonas(folder);
      const { a } = personas;
      personas.h = {
        ...a!,
        persona: { name: 'h', digest: hostile.digest },
        layers: [hostile, ...a!.layers],
      };
      const root = `${folder}/persona`;
      const first = await startBench(root, personas, { ways });
      const tree = first.tree('work');
      await first.create('work', { owner: OWNER });
      await first.swap('work', 'h');
      harmless(t, tree, 'first');
      await first.swap('work', 'a');
      await first.swap('work', 'h');
      harmless(t, tree, 'swapped back');
      await first.swap('work', 'a');
      await first.rollback('work');
      harmless(t, tree, 'rolled back');
      await first.stop();
      const second = await startBench(root, personas, { ways });
      harmless(t, tree, 'restarted');
      await second.stop();
      await unmountBelow(folder);
      rmSync(`${root}/run`, { recursive: true });
      const third = await startBench(root, personas, { ways });
      harmless(t, tree, 'rebooted');
      await third.stop();
      t.throws(() => as(OWNER, 'find', `${root}/state`), { message: /Permission denied/ });
    },
  );
}

/** Opens and reads without pause, as many programs do; says at the end what it met. */
const READER = `
const fs = require('node:fs');
let reads = 0, stop = false; const met = {};
process.stdin.on('data', () => { stop = true; });
function some() {
  for (let i = 0; i < 200; i += 1) {
    let what; try { what = fs.readFileSync(process.argv[1] + '/etc/name', 'utf8'); fs.readdirSync(process.argv[1]); } catch (error) { what = error.code; }
    met[what] = (met[what] ?? 0) + 1; reads += 1;
  }
  if (stop) { console.log(JSON.stringify(met)); process.exit(); }
  setImmediate(some);
}
console.log('ready'); some();
`;

for (const ways of [{}, { flip: 'symlink' }] as Partial<Ways>[]) {
  rooted(
    `a busy reader meets the old or the new tree in 200 swaps: ${JSON.stringify(ways)}`,
    async (t) => {
      const folder = scratchFolder(t);
      const bench = await startBench(`${folder}/persona`, twoPersonas(folder), { ways });
      t.teardown(() => bench.stop());
      await bench.create('work');
      await bench.swap('work', 'a');
      const reader = partner(t, process.execPath, '-e', READER, bench.tree('work'));
      t.is(await reader.line(), 'ready');
      for (let round = 0; round < 200; round += 1) {
        const fresh = round % 10 === 0;
        await bench.swap('work', round % 2 === 0 ? 'b' : 'a', { fresh });
      }
      reader.say('stop');
      t.deepEqual(Object.keys(JSON.parse(await reader.line())).sort(), ['a', 'b']);
    },
  );
}

rooted('an image inside a container file is mounted where it lies', async (t) => {
  const folder = scratchFolder(t);
  const personas = twoPersonas(folder);
  const inner = imageOf(folder, 'inner', { 'etc/name': 'inner' });
  run(
    'sh',
    '-c',
    'head -c 12288 /dev/zero > "$1/container"; cat "$2" >> "$1/container"; echo tail >> "$1/container"',
    'sh',
    folder,
    inner,
  );
  const layer = { ...layerFrom(inner, 'diff'), file: `${folder}/container`, offset: 12288 };
  const { a } = personas;
  personas.c = {
    ...a!,
    persona: { name: 'c', digest: layer.digest },
    layers: [layer, ...a!.layers],
  };
  for (const erofs of ['file-offset', 'file', 'loop'] as const) {
    const bench = await startBench(`${folder}/${erofs}`, personas, { ways: { erofs } });
    await bench.create('work');
    await bench.swap('work', 'c');
    t.is(run('cat', `${bench.tree('work')}/etc/name`), 'inner', erofs);
    await bench.stop();
  }
});
