import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { readBootState } from '../../daemon/kernel/secure-boot.ts';
import type { Client } from '../../ipc/client.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import { flipBit } from '../support/flip-bit.ts';
import { run, when } from '../support/needs.ts';
import { asUser, done, privateTree, startLive, users } from './live-daemon.ts';
import { populated } from './place.ts';
import { changedCopy, programTree } from './trees.ts';

// Images that are changed behind the daemon's back, and machines that are not trusted.

const tools = ['bwrap', 'setpriv', 'prlimit', 'ionice'];

type File = Answer<'system.integrity'>['files'][number];

async function filesOf(client: Client): Promise<File[]> {
  return (await client.call('system.integrity', {})).files;
}

when(test, { root: true, tools })(
  'a scrub finds a damaged image; slots that show it are named, nothing new goes on it, importing it again mends it',
  async (t) => {
    const { daemon, base } = await populated(t);
    const client = await daemon.client();
    const image = (await filesOf(client)).find(({ bases }) => bases.includes('base'));
    t.like(image, { state: 'ok', kind: 'layer', slots: ['work'], personas: ['a', 'b'] });
    flipBit(join(daemon.state, image?.file ?? ''));

    const planned = await client.call('system.scrub', { dryRun: true });
    t.regex(planned.plan?.tasks[0]?.summary ?? '', /hash 4 files again/);
    const { result } = await client.call('system.scrub', { wait: true });
    t.deepEqual(result?.damaged, [{ file: image?.file ?? '', problem: 'its bytes have changed' }]);

    const status = await client.call('daemon.status', {});
    t.like(status.integrity, { files: 4, damaged: 1, due: 0 });
    t.is(status.daemon.state, 'ready');
    const notice = status.notices.find(({ text }) => /damaged/.test(text));
    t.regex(notice?.text ?? '', /the image of base base is damaged .*; shown now in work\./);
    t.regex(notice?.command ?? '', /personactl base import/);
    const { checks } = await client.call('daemon.doctor', {});
    t.like(
      checks.find(({ name }) => name === 'images'),
      { state: 'failed' },
    );
    // Slots of others stay theirs, for whoever asks.
    const [seen] = await asUser(users.user, [], daemon.run, [['system.integrity', {}]]);
    const page = seen?.result as { files: File[] } | undefined;
    t.deepEqual(
      page?.files.flatMap(({ slots }) => slots),
      [],
    );

    const refused = { code: 'state-damaged' };
    const swap = { slot: 'work', persona: 'b' };
    await t.throwsAsync(done(client, 'slot.swap', swap), refused);
    await t.throwsAsync(done(client, 'slot.rollback', { slot: 'work', base: true }), refused);
    // A start forgets nothing, and what is shown stays.
    await daemon.end('SIGTERM');
    const again = await startLive(t, daemon.root);
    const anew = await again.client();
    await t.throwsAsync(done(anew, 'slot.swap', swap), refused);
    t.like((await anew.call('slot.list', {})).slots[0], { name: 'work', state: 'active' });

    await done(anew, 'base.import', { name: 'mended', source: { kind: 'path', path: base } });
    await done(anew, 'slot.swap', swap);
    t.deepEqual((await anew.call('system.scrub', { wait: true })).result?.damaged, []);
    t.like((await anew.call('daemon.status', {})).integrity, { damaged: 0 });
  },
);

when(test, { root: true, tools })(
  'a scrub that was killed with the daemon goes on with the rest after the restart',
  async (t) => {
    const root = privateTree(t);
    const first = programTree(root, 'base');
    const daemon = await startLive(t, root);
    const client = await daemon.client();
    for (const name of ['one', 'two', 'three']) {
      const path = changedCopy(first, root, name);
      // Long enough to be in the middle of.
      run('dd', 'if=/dev/urandom', `of=${path}/large`, 'bs=1M', 'count=64', 'status=none');
      await done(client, 'base.import', { name, source: { kind: 'path', path } });
    }
    const atMs = Date.now();
    const middle = Promise.withResolvers<void>();
    const cut = client.call(
      'system.scrub',
      { wait: true },
      { onEvent: ({ progress }) => progress && progress.done > 0 && middle.resolve() },
    );
    cut.catch(() => undefined);
    await middle.promise;
    await daemon.end('SIGKILL');

    const again = await startLive(t, root);
    const anew = await again.client();
    const [change] = (await anew.call('change.list', { all: true })).changes;
    t.like(change, { kind: 'system.scrub', status: 'failed' });
    const late = ({ hashedMs }: File) => hashedMs === undefined || hashedMs < atMs;
    while ((await filesOf(anew)).some(late)) await pause(50);
    t.deepEqual(
      (await filesOf(anew)).map(({ state }) => state),
      ['ok', 'ok', 'ok'],
    );
  },
);

when(test, {
  root: true,
  tools,
  other: () => (readBootState().secureBoot ? 'needs a machine without secure boot' : undefined),
})(
  'where secure boot is required and off everything is shown and nothing is changed',
  async (t) => {
    const { daemon, root } = await populated(t);
    await daemon.end('SIGTERM');
    const toml = join(root, 'etc/persona.toml');
    const before = readFileSync(toml, 'utf8');
    writeFileSync(toml, `${before}[integrity]\nrequire_secure_boot = "yes"\n`);
    const held = await startLive(t, root);
    const client = await held.client();
    const status = await client.call('daemon.status', {});
    t.like(status.daemon, { state: 'degraded' });
    t.regex(status.daemon.reason ?? '', /require_secure_boot is set, and .*secure boot/);
    t.like(status.machine.boot, { refused: true });
    t.deepEqual(
      status.slots.map(({ name, state }) => [name, state]),
      [['work', 'active']],
      'what was shown stays',
    );
    const { checks } = await client.call('daemon.doctor', {});
    t.like(
      checks.find(({ name }) => name === 'secure boot'),
      { state: 'failed' },
    );
    t.like(
      checks.find(({ name }) => name === 'database'),
      { state: 'ok' },
    );
    const refused = { code: 'daemon-degraded' };
    await t.throwsAsync(done(client, 'slot.swap', { slot: 'work', persona: 'b' }), refused);
    await t.throwsAsync(done(client, 'system.scrub', {}), refused);
    await held.end('SIGTERM');
    writeFileSync(toml, before);
    const free = await startLive(t, root);
    await done(await free.client(), 'slot.swap', { slot: 'work', persona: 'b' });
  },
);
