import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { unmountBelow } from '../support/mount-scratch.ts';
import { when } from '../support/needs.ts';
import { done, privateTree, startLive } from './live-daemon.ts';
import { populated } from './place.ts';

const needs = { root: true, tools: ['setpriv', 'bwrap', 'prlimit'] };

when(test, needs)('a state tree that was moved shows its slots, and swaps them', async (t) => {
  const { daemon, root } = await populated(t);
  const shownBy = (place: string) => join(place, 'run/slots/work/root');
  const name = readFileSync(join(shownBy(root), 'etc/name'), 'utf8');
  writeFileSync(join(shownBy(root), 'etc/written'), 'kept');
  await daemon.end('SIGTERM');
  await unmountBelow(root);
  const moved = privateTree(t);
  renameSync(join(root, 'state'), join(moved, 'state'));

  const again = await startLive(t, moved);
  t.is(readFileSync(join(shownBy(moved), 'etc/name'), 'utf8'), name);
  t.is(readFileSync(join(shownBy(moved), 'etc/written'), 'utf8'), 'kept');
  const client = await again.client();
  await done(client, 'slot.swap', { slot: 'work', persona: 'b' });
  await done(client, 'slot.rollback', { slot: 'work' });
  t.is(readFileSync(join(shownBy(moved), 'etc/written'), 'utf8'), 'kept');
});
