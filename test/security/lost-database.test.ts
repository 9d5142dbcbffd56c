import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { unmountBelow } from '../support/mount-scratch.ts';
import { when } from '../support/needs.ts';
import { done, startLive, users } from './live-daemon.ts';
import { populated } from './place.ts';

// SECURITY 6, 7: whatever happens to the database, nothing that users wrote is touched.

const needs = { root: true, tools: ['setpriv', 'bwrap', 'prlimit'] };
const ends = ['', '-wal', '-shm'];

/** Everything below the state tree but the database: names, kinds, modes, owners, times, bytes. */
function everything(state: string): Map<string, string> {
  const seen = new Map<string, string>();
  for (const name of readdirSync(state, { recursive: true, encoding: 'utf8' })) {
    if (/^(personad\.db.*|\.lock)$/.test(name)) continue;
    const path = join(state, name);
    const stat = lstatSync(path);
    const bytes = stat.isFile()
      ? readFileSync(path)
      : stat.isSymbolicLink()
        ? readlinkSync(path)
        : '';
    const hash = createHash('sha256').update(bytes).digest('hex');
    seen.set(name, `${stat.mode} ${stat.uid}:${stat.gid} ${stat.size} ${stat.ino} ${hash}`);
  }
  return seen;
}

function database(from: string, to: string): void {
  for (const end of ends) {
    rmSync(join(to, `personad.db${end}`), { force: true });
    if (existsSync(join(from, `personad.db${end}`)))
      copyFileSync(join(from, `personad.db${end}`), join(to, `personad.db${end}`));
  }
}

async function expectDegraded(t: ExecutionContext, root: string, what: string): Promise<void> {
  const state = join(root, 'state');
  const before = everything(state);
  const daemon = await startLive(t, root);
  const client = await daemon.client();
  const status = await client.call('daemon.status', {});
  t.is(status.daemon.state, 'degraded', what);
  t.truthy(status.daemon.reason);
  const refused = { code: 'daemon-degraded' };
  await t.throwsAsync(client.call('system.gc', { wait: true }), refused, what);
  await t.throwsAsync(client.call('slot.create', { name: 'new', wait: true }), refused, what);
  const tried = [
    client.call('slot.swap', { slot: 'work', persona: 'b', wait: true }),
    client.call('slot.rm', { slot: 'work', discard: true, wait: true }),
    client.call('slot.rollback', { slot: 'work', wait: true }),
    client.call('persona.rm', { persona: 'b', wait: true }),
    client.call('base.rm', { base: 'base', wait: true }),
  ];
  for (const one of tried) await t.throwsAsync(one, undefined, what);
  await client.call('system.df', {});
  t.is((await client.call('daemon.doctor', {})).checks[0]?.state, 'failed');
  const as = ['--reuid', `${users.user}`, '--regid', `${users.user}`, '--clear-groups'];
  const found = spawnSync('setpriv', [...as, 'find', daemon.run, '-name', '*.db*'], {
    encoding: 'utf8',
  });
  t.is(found.stdout, '', 'no copy of the database can be reached');
  client.close();
  await daemon.end('SIGTERM');
  t.is((await daemon.ended).code, 0);
  t.deepEqual(everything(state), before, `${what}: nothing was touched`);
}

when(test, needs)(
  'without its database, or with another one, everything stays as it is',
  async (t) => {
    const { daemon, root } = await populated(t);
    const client = await daemon.client();
    const mine = `${daemon.run}/slots/work/root/etc/mine`;
    writeFileSync(mine, 'precious a');
    await daemon.end('SIGTERM');
    const old = join(root, 'old');
    const good = join(root, 'good');
    for (const folder of [old, good]) mkdirSync(folder);
    database(daemon.state, old);

    const second = await startLive(t, root);
    const again = await second.client();
    await done(again, 'slot.swap', { slot: 'work', persona: 'b' });
    writeFileSync(mine, 'precious b');
    await done(again, 'slot.swap', { slot: 'work', persona: 'a', fresh: true });
    writeFileSync(mine, 'precious fresh a');
    again.close();
    client.close();
    await second.end('SIGTERM');
    database(second.state, good);

    const { state } = second;
    const file = join(state, 'personad.db');
    for (const end of ends) rmSync(`${file}${end}`, { force: true });
    await expectDegraded(t, root, 'deleted');
    database(good, state);
    truncateSync(file, 9_000);
    await expectDegraded(t, root, 'cut');
    writeFileSync(file, Buffer.alloc(20_000, 'no database '));
    await expectDegraded(t, root, 'overwritten');
    database(old, state);
    chmodSync(file, 0o644);
    await expectDegraded(t, root, 'restored from an older copy');
    await unmountBelow(root);
    await expectDegraded(t, root, 'the older copy after a reboot');

    database(good, state);
    const last = await startLive(t, root);
    t.is(readFileSync(mine, 'utf8'), 'precious fresh a');
    const healed = await last.client();
    await done(healed, 'slot.rollback', { slot: 'work', to: 1 });
    t.is(readFileSync(mine, 'utf8'), 'precious a');
    await done(healed, 'slot.rollback', { slot: 'work', to: 2 });
    t.is(readFileSync(mine, 'utf8'), 'precious b');
  },
);
