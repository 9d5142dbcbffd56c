import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { readMountinfo } from '../../daemon/kernel/mountinfo.ts';
import { processStat } from '../../daemon/kernel/processes.ts';
import type { Client } from '../../ipc/client.ts';
import { run, when } from '../support/needs.ts';
import { done, type LiveDaemon, startLive } from './live-daemon.ts';
import { populated } from './place.ts';

// A daemon that is killed while it imports, creates, swaps and rolls back, again and again: what it finds
// at its next start is complete, old or new, and nothing is left of what was not finished.

const needs = { root: true, tools: ['bwrap', 'setpriv', 'prlimit', 'losetup'] };
/** Few in the suite; `CRASH_ROUNDS=50` looks longer. */
const rounds = Number(process.env.CRASH_ROUNDS ?? 3);
/** A kill comes within this time after the work was asked for: less than the longest of it takes. */
const killWithinMs = 700;

/** One digest of a whole tree: names, kinds, modes, owners, bytes. Without what the test itself wrote. */
function digestOf(tree: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(tree, { recursive: true, encoding: 'utf8' }).sort()) {
    if (name === 'etc/mine') continue;
    const path = join(tree, name);
    const stat = lstatSync(path);
    hash.update(`${name} ${stat.mode} ${stat.uid}:${stat.gid}\n`);
    if (stat.isFile()) hash.update(readFileSync(path));
    if (stat.isSymbolicLink()) hash.update(readlinkSync(path));
  }
  return hash.digest('hex');
}

interface Started {
  pid: number;
  startTime: number;
}

/** Every process below `pid`, named so that a number that is used again is noticed. */
function processesBelow(pid: number): Started[] {
  const found: Started[] = [];
  const visit = (parent: number): void => {
    for (const task of readdirSync(`/proc/${parent}/task`)) {
      const text = readFileSync(`/proc/${parent}/task/${task}/children`, 'ascii').trim();
      for (const child of text.split(' ').filter(Boolean).map(Number)) {
        const stat = processStat(child);
        if (stat !== undefined) found.push({ pid: child, startTime: stat.startTime });
        try {
          visit(child);
        } catch {
          // it has ended
        }
      }
    }
  };
  try {
    visit(pid);
  } catch {
    // it has ended
  }
  return found;
}

async function expectGone(t: ExecutionContext, started: readonly Started[]): Promise<void> {
  const alive = () =>
    started.filter(({ pid, startTime }) => processStat(pid)?.startTime === startTime);
  for (let looks = 0; looks < 200 && alive().length > 0; looks += 1) await pause(25);
  t.deepEqual(alive(), [], 'children die with the daemon');
}

/** Asks for everything at once; what comes of it is seen after the kill. */
function askForMuch(client: Client, root: string, round: number): void {
  const path = (name: string) => ({ kind: 'path' as const, path: join(root, name) });
  const ignore = () => {};
  done(client, 'base.import', { name: `base-${round}`, source: path('b') }).catch(ignore);
  done(client, 'persona.create', { name: `p-${round}`, base: 'base', tree: path('a') }).catch(
    ignore,
  );
  const swaps = async () => {
    for (;;) {
      await done(client, 'slot.swap', { slot: 'work', persona: 'b' });
      await done(client, 'slot.rollback', { slot: 'work', to: 1 });
      await done(client, 'slot.swap', { slot: 'work', persona: 'b', fresh: true });
      await done(client, 'slot.swap', { slot: 'work', persona: 'a' });
    }
  };
  swaps().catch(ignore);
  done(client, 'slot.create', { name: `s-${round}` }).catch(ignore);
}

async function expectWhole(
  t: ExecutionContext,
  daemon: LiveDaemon,
  root: string,
  digests: Record<string, string>,
  last: boolean,
): Promise<void> {
  const client = await daemon.client();
  const tree = join(daemon.run, 'slots/work/root');
  const name = readFileSync(join(tree, 'etc/name'), 'utf8');
  t.is(digestOf(tree), digests[name] ?? '', `the tree of ${name} is complete`);
  const mine = join(tree, 'etc/mine');
  t.is(existsSync(mine) ? readFileSync(mine, 'utf8') : '', name === 'a' ? 'precious' : '');
  const { slots } = await client.call('slot.list', {});
  const work = slots.find((slot) => slot.name === 'work');
  t.is(work?.problem, undefined, daemon.output());
  t.like(work, { state: 'active', active: { state: 'good', persona: { name } } });
  const { changes } = await client.call('change.list', { all: true, limit: 50 });
  t.deepEqual(
    changes.filter(({ status }) => !['done', 'failed', 'aborted'].includes(status)),
    [],
  );
  t.deepEqual(readdirSync(join(daemon.state, 'staging')), []);
  t.deepEqual(readdirSync(join(daemon.state, 'quarantine')), []);
  const overlays = readMountinfo().filter(
    ({ at, type }) => type === 'overlay' && at.startsWith(root),
  );
  t.is(overlays.length, 1, 'one tree is shown, and no other is left');
  t.true(overlays[0]?.options.includes('nosuid') && overlays[0].options.includes('nodev'));
  t.is(readMountinfo().filter(({ at, type }) => type === 'erofs' && at.startsWith(root)).length, 0);
  t.false(run('losetup', '-l', '-n', '-O', 'BACK-FILE').includes(root));
  const listed = new Set(slots.map((slot) => slot.name));
  for (const one of readdirSync(join(daemon.state, 'slots'))) t.true(listed.has(one), one);
  const { bases } = await client.call('base.list', {});
  const { personas } = await client.call('persona.list', {});
  const layers = new Set([
    ...bases.map(({ digest }) => digest),
    ...personas.flatMap((persona) => persona.layers.map(({ digest }) => digest)),
  ]);
  for (const file of readdirSync(join(daemon.state, 'layers')))
    t.true(layers.has(file.replace('sha256-', 'sha256:').replace(/\.\w+$/, '')), file);
  const known = new Set(personas.map(({ digest }) => digest.replace(':', '-')));
  for (const file of readdirSync(join(daemon.state, 'personas')))
    t.true(known.has(file.replace(/\.\w+$/, '')), file);
  for (const persona of last ? personas : []) {
    const { ok } = (await done(client, 'persona.verify', { persona: persona.name })) as unknown as {
      ok: boolean;
    };
    t.true(ok, persona.name);
  }
  client.close();
}

when(test, needs)('killed at any moment of any work, it starts with what is whole', async (t) => {
  const first = await populated(t);
  const { root } = first;
  let { daemon } = first;
  const digests: Record<string, string> = {};
  const before = await daemon.client();
  for (const name of ['b', 'a']) {
    await done(before, 'slot.swap', { slot: 'work', persona: name });
    digests[name] = digestOf(join(daemon.run, 'slots/work/root'));
  }
  before.close();
  writeFileSync(join(daemon.run, 'slots/work/root/etc/mine'), 'precious');
  for (let round = 0; round < rounds; round += 1) {
    const client = await daemon.client();
    askForMuch(client, root, round);
    const afterMs = Math.random() * killWithinMs;
    await pause(afterMs);
    const children = processesBelow(daemon.child.pid ?? 0);
    await daemon.end('SIGKILL');
    client.close();
    await expectGone(t, children);
    t.log(`round ${round}: killed after ${afterMs.toFixed(1)} ms with ${children.length} children`);
    daemon = await startLive(t, root);
    await expectWhole(t, daemon, root, digests, round === rounds - 1);
  }
});
