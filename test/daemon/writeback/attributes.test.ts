import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { readXattrs, writeXattr } from '../../../daemon/kernel/xattrs.ts';
import { sync } from '../../../daemon/writeback/sync.ts';
import { run, when } from '../../support/needs.ts';
import { idle, type ServedHome, servedHome, uid } from './served-home.ts';

const root = when(test, { root: true, tools: ['mount', 'setfacl'] });
const deadline = 60_000;

/** Fills memory, has `work` done there, and brings it back. */
async function workIn(home: ServedHome, work: () => void): Promise<{ skipped: number }> {
  const writer = await home.writer();
  const ask = { do: 'open' as const, memory: home.partition, fill: true };
  const opened = await writer.ask(ask, 'opened', deadline);
  work();
  await sync(writer, idle, () => 1000);
  await writer.ask({ do: 'finish' }, 'finished', deadline);
  return opened;
}

/** A file of the user that he may not write himself, with an attribute. */
function makeSealed(path: string, mode: number, ...acl: string[]): void {
  writeFileSync(path, `of ${path.slice(path.lastIndexOf('/') + 1)}`);
  chownSync(path, uid, uid);
  writeXattr(path, 'user.a', 'b');
  chmodSync(path, mode);
  if (acl.length > 0) run('setfacl', '-m', acl.join(','), path);
}

const seen = (path: string) => ({
  text: readFileSync(path, 'latin1'),
  mode: statSync(path).mode & 0o777,
  attributes: readXattrs(path),
});

root('attributes of a file that its owner may not write come into memory and back', async (t) => {
  const home = await servedHome(t);
  const { disk, memory } = home;
  makeSealed(`${disk}/early`, 0o444);
  makeSealed(`${disk}/listed`, 0o440, 'u:1:r');
  const before = ['early', 'listed'].map((name) => seen(`${disk}/${name}`));
  t.is(before[1]?.attributes.length, 2);
  const { skipped } = await workIn(home, () => {
    t.deepEqual(
      ['early', 'listed'].map((name) => seen(`${memory}/${name}`)),
      before,
    );
    makeSealed(`${memory}/late`, 0o444);
    makeSealed(`${memory}/later`, 0o440, 'u:1:r');
    writeFileSync(`${memory}/listed`, 'new');
  });
  t.is(skipped, 0);
  t.deepEqual(seen(`${disk}/early`), before[0]);
  t.deepEqual(seen(`${disk}/listed`), { ...before[1], text: 'new' });
  t.deepEqual(seen(`${disk}/late`), { ...before[0], text: 'of late' });
  t.deepEqual(seen(`${disk}/later`), { ...before[1], text: 'of later' });
});

root('what the disk keeps no attributes of comes to it without', async (t) => {
  const home = await servedHome(t);
  run('mount', '-t', 'ramfs', 'persona-test', home.home);
  mkdirSync(home.disk);
  for (const at of [home.home, home.disk]) chownSync(at, uid, uid);
  await workIn(home, () => makeSealed(`${home.memory}/file`, 0o444));
  t.deepEqual(seen(`${home.disk}/file`), { text: 'of file', mode: 0o444, attributes: [] });
});
