import test from 'ava';
import { PersonaError } from '../../ipc/errors.ts';
import type { ChangeEvent } from '../../ipc/methods/shapes.ts';
import { collectedMax } from '../../ipc/values.ts';
import { fakeDaemon } from './fake-daemon.ts';
import { golden } from './golden.ts';
import * as samples from './samples.ts';
import { personactl } from './tool.ts';

const plan = {
  kind: 'slot.swap',
  summary: 'swap desk to writing',
  holds: ['slot:desk'],
  tasks: [
    { kind: 'mount', summary: 'join the layers', params: { a: 1 }, undo: 'nothing' as const },
    { kind: 'flip', summary: 'replace the tree', params: {}, undo: 'forward' as const },
  ],
  needs: { bytes: 4096 },
};

const event = (status: ChangeEvent['status'], more: Partial<ChangeEvent> = {}): ChangeEvent => ({
  changeId: 12,
  status,
  ...more,
});

const task = (index: number, summary: string) => ({
  index,
  count: 2,
  kind: 'mount',
  summary,
  status: 'doing' as const,
});

const page = {
  id: 12,
  kind: 'slot.swap',
  summary: 'swap desk to writing',
  ownerUid: 0,
  status: 'doing' as const,
  createdMs: samples.nowMs,
  holds: ['slot:desk'],
  tasks: [],
};

test('a swap is one call, and says what happened', async (t) => {
  const { root, calls } = await fakeDaemon(t, {
    'slot.swap': () => ({ changeId: 12, result: samples.swapped }),
  });
  golden(t, 'swap', await personactl({ root }, 'swap', 'desk', 'writing', '--fresh', '--kill'));
  const params = { slot: 'desk', persona: 'writing', fresh: true, busy: 'kill', wait: true };
  t.deepEqual(calls, [{ method: 'slot.swap', params }]);
  golden(t, 'swap.json', await personactl({ root }, 'swap', 'desk', 'writing', '--json'));
  const quiet = await personactl({ root }, 'swap', 'desk', 'writing', '--quiet');
  t.deepEqual(quiet, { status: 0, out: '', err: '' });
});

test('rollback passes on where to', async (t) => {
  const { root, calls } = await fakeDaemon(t, {
    'slot.rollback': () => ({ changeId: 12, result: samples.swapped }),
  });
  await personactl({ root }, 'rollback', 'desk');
  await personactl({ root }, 'rollback', 'desk', '--to', '3', '--wait');
  await personactl({ root }, 'rollback', 'desk', '--base');
  t.deepEqual(
    calls.map(({ params }) => params),
    [
      { slot: 'desk', wait: true },
      { slot: 'desk', to: 3, busy: 'wait', wait: true },
      { slot: 'desk', base: true, wait: true },
    ],
  );
});

test('--dry-run prints the plan', async (t) => {
  const { root, calls } = await fakeDaemon(t, { 'slot.swap': () => ({ plan }) });
  golden(t, 'dry-run', await personactl({ root }, 'swap', 'desk', 'writing', '-n'));
  golden(t, 'dry-run.json', await personactl({ root }, 'swap', 'desk', 'writing', '-n', '--json'));
  t.like(calls[0]?.params, { dryRun: true });
});

test('--no-wait answers with the number of the change', async (t) => {
  const { root, calls } = await fakeDaemon(t, { 'system.gc': () => ({ changeId: 7 }) });
  const text = await personactl({ root }, 'gc', '--no-wait');
  t.is(text.status, 0);
  t.regex(text.out, /Change 7 is on its way; `personactl change follow 7`/);
  const json = await personactl({ root }, 'gc', '--no-wait', '--json');
  t.deepEqual(JSON.parse(json.out), { apiVersion: 1, changeId: 7 });
  t.deepEqual(calls[0]?.params, {});
});

test('a failed change ends with its error and status', async (t) => {
  const { root } = await fakeDaemon(t, {
    'slot.swap': () => {
      throw new PersonaError('slot-busy', { slot: 'desk', who: 'bash (12)\x1b[2J' });
    },
  });
  golden(t, 'swap-busy', await personactl({ root, terminal: true }, 'swap', 'desk', 'writing'));
  golden(t, 'swap-busy.json', await personactl({ root }, 'swap', 'desk', 'writing', '--json'));
});

test('a collection that took all that one may says that another goes on', async (t) => {
  const one = { kind: 'layers', name: 'sha256:00', bytes: 1 };
  for (const [count, said] of [
    [collectedMax - 1, /^$/],
    [collectedMax, /`personactl gc` again/],
  ] as const) {
    const removed = Array.from({ length: count }, () => one);
    const { root } = await fakeDaemon(t, {
      'system.gc': () => ({ changeId: 12, result: { removed, bytes: count } }),
    });
    t.regex((await personactl({ root }, 'gc')).err, said);
  }
});

test('progress is drawn on a terminal only, on stderr, and taken away at the end', async (t) => {
  const { root } = await fakeDaemon(t, {
    'system.gc': (_, send) => {
      send(event('doing', { task: task(0, 'look at layers') }));
      for (let done = 1; done <= 8; done += 1)
        send(
          event('doing', {
            task: task(1, 'remove\x07 layers'),
            progress: { done: done * 1_000_000, total: 10_000_000, unit: 'bytes', note: 'a\x1b' },
          }),
        );
      return { changeId: 12, result: { removed: [], bytes: 0 } };
    },
  });
  const shown = await personactl({ root, terminal: true, columns: 90 }, 'gc');
  t.is(shown.out, 'Nothing to remove: all is in use.\n');
  const draws = shown.err.split('\r\x1b[2K');
  t.true(draws.length > 3);
  t.is(draws.at(-1), '');
  t.true(
    draws.some((line) =>
      /2\/2 remove\\x07 layers {2}.*█.* 80 % {2}7.63 MiB of 9.54 MiB/.test(line),
    ),
  );
  for (const line of draws) t.notRegex(line.replace(/\x1b\[\d+m/g, ''), /[\x00-\x1f]/);
  for (const line of draws) t.true(line.replace(/\x1b\[\d+m/g, '').length < 90);
  t.is((await personactl({ root }, 'gc')).err, '');
  t.is((await personactl({ root, terminal: true }, 'gc', '-q')).err, '');
  t.is((await personactl({ root, terminal: true }, 'gc', '--json')).err, '');
});

test('Ctrl-C stops the watching, not the change, and says so', async (t) => {
  let press = () => {};
  const { root } = await fakeDaemon(t, {
    'slot.swap': (_, send) => {
      send(event('doing', { task: task(0, 'wait') }));
      send(event('doing', { task: task(1, 'wait') }));
      return new Promise(() => {});
    },
  });
  const setting = {
    root,
    terminal: true,
    interrupt: (heard: () => void) => {
      press = heard;
    },
    onWrite: () => press(),
  };
  const { status, err, out } = await personactl(setting, 'swap', 'desk', 'writing');
  t.is(status, 130);
  t.is(out, '');
  t.regex(
    err,
    /Detached: change 12 goes on\. `personactl change follow 12`.*`personactl change abort 12`/,
  );
});

test('follow ends as the change ends', async (t) => {
  const answers = (last: ChangeEvent) => ({
    'change.follow': (_: unknown, send: (one: ChangeEvent) => void) => {
      setImmediate(() => {
        send(event('doing', { task: task(0, 'work') }));
        send(last);
      });
      return { change: page };
    },
  });
  const good = await fakeDaemon(t, answers(event('done')));
  const done = await personactl({ root: good.root }, 'change', 'follow', '#12');
  t.deepEqual(done, { status: 0, out: 'Change 12 is done.\n', err: '' });
  const json = await personactl({ root: good.root }, 'change', 'follow', '12', '--json');
  t.deepEqual(
    json.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).event.status),
    ['doing', 'done'],
  );
  const failure = { code: 'no-space', message: 'cannot start: full', hint: 'Free some.' };
  const bad = await fakeDaemon(t, answers(event('failed', { error: failure })));
  const failed = await personactl({ root: bad.root }, 'change', 'follow', '12');
  t.is(failed.status, 6);
  t.is(failed.err, 'personactl: cannot start: full\n  Free some.\n');
  const stuck = await fakeDaemon(t, answers(event('stuck-undoing', { error: failure })));
  const said = await personactl({ root: stuck.root }, 'change', 'follow', '12');
  t.is(said.status, 1);
  t.regex(said.err, /change continue 12/);
});

test('a change that has ended already is not waited for', async (t) => {
  const { root } = await fakeDaemon(t, {
    'change.follow': () => ({ change: { ...page, status: 'aborted' } }),
  });
  const { status, err } = await personactl({ root }, 'change', 'follow', '12');
  t.is(status, 1);
  t.regex(err, /it was aborted/);
});

test('abort waits for the undo and shows how it ended', async (t) => {
  const { root, calls } = await fakeDaemon(t, {
    'change.abort': () => ({ change: { ...page, status: 'undoing' } }),
    'change.follow': () => ({ change: { ...page, status: 'aborted' } }),
    'change.show': () => ({ change: { ...page, status: 'aborted' } }),
  });
  const { status, out } = await personactl({ root }, 'change', 'abort', '12');
  t.is(status, 0);
  t.is(out, 'Change 12 is aborted: swap desk to writing\n');
  t.deepEqual(
    calls.map(({ method }) => method),
    ['change.abort', 'change.follow', 'change.show'],
  );
});

test('verify fails with the status for damaged data', async (t) => {
  const checks = [{ what: 'the diff layer', ok: false, detail: 'another digest' }];
  const { root } = await fakeDaemon(t, {
    'persona.verify': () => ({ changeId: 3, result: { ok: false, checks } }),
  });
  golden(t, 'verify-damaged', await personactl({ root }, 'persona', 'verify', 'build'));
});

test('verify tells a signature that is not accepted from damaged data', async (t) => {
  const signature = { what: 'the signature', ok: false, detail: 'its key was revoked' };
  const layer = { what: 'the diff layer', ok: true, detail: 'sha256:00' };
  const { root } = await fakeDaemon(t, {
    'persona.verify': () => ({ changeId: 3, result: { ok: false, checks: [layer, signature] } }),
  });
  const { status, out } = await personactl({ root }, 'persona', 'verify', 'build');
  t.is(status, 8);
  t.regex(out, /build is whole, and its signature is not accepted here/);
  t.notRegex(out, /damaged/);
});

test('what is no key id is not sent', async (t) => {
  const { root, calls } = await fakeDaemon(t, {});
  const { status, err } = await personactl({ root }, 'key', 'revoke', 'foo');
  t.not(status, 0);
  t.regex(err, /"foo".*not the id of a key.*key list/s);
  t.false(calls.some(({ method }) => method === 'key.revoke'));
});

test('without a daemon every command says so, with status 3', async (t) => {
  for (const line of [
    'status',
    'swap a b',
    'persona list',
    'change follow 1',
    'version --daemon',
  ]) {
    const { status, err, out } = await personactl({}, ...line.split(' '));
    t.deepEqual([status, out], [3, '']);
    t.regex(err, /cannot reach the daemon at .*\n {2}Is personad running/);
  }
  t.is((await personactl({}, 'version')).status, 0);
  const exec = await personactl({}, 'exec', 'desk', '--', 'true');
  t.is(exec.status, 125);
});

test('a daemon that goes away in the middle is not waited for', async (t) => {
  const { root } = await fakeDaemon(t, {
    'daemon.status': () => {
      throw new PersonaError('daemon-stopping');
    },
  });
  t.is((await personactl({ root }, 'status')).status, 3);
});

test('a fast partition is asked for in bytes, and what it cannot keep is said', async (t) => {
  const [partition] = samples.fastPartitions;
  if (partition === undefined) throw new Error('there is a sample');
  const { root, calls } = await fakeDaemon(t, {
    'fast.create': () => ({ changeId: 12, result: { partition } }),
    'fast.resize': () => ({ changeId: 13, result: { partition } }),
    'fast.rm': () => ({ changeId: 13, result: { name: 'build' } }),
  });
  const words = ['fast', 'create', 'build', '--size', '2G', '--on', 'ram'];
  golden(t, 'fast-create', await personactl({ root }, ...words));
  golden(t, 'fast-create.json', await personactl({ root }, ...words, '--json'));
  golden(t, 'fast-rm', await personactl({ root }, 'fast', 'rm', 'build'));
  const params = { name: 'build', bytes: 2_147_483_648, on: 'ram', wait: true };
  t.deepEqual(calls[0], { method: 'fast.create', params });
  golden(t, 'fast-resize', await personactl({ root }, 'fast', 'resize', 'build', '--size', '2G'));
  const { on: _, ...resized } = params;
  t.deepEqual(calls.at(-1), { method: 'fast.resize', params: resized });
  t.is((await personactl({ root }, 'fast', 'resize', 'build')).status, 2);
  await personactl({ root }, ...words.with(-1, 'nvme'), '--volume', 'user');
  t.deepEqual(calls.at(-1)?.params, { ...params, on: 'nvme', volume: 'user' });
  t.is((await personactl({ root }, 'fast', 'create', 'build', '--size', '2G')).status, 2);
  const odd = await personactl({ root }, 'fast', 'create', 'build', '--size', 'x', '--on', 'ram');
  t.is(odd.status, 2);
  t.regex(odd.err, /size/);
});

test('what was measured is said, also where nothing was made', async (t) => {
  const figures = [
    { on: 'disk' as const, syncMs: 0.5, readMs: 0.1 },
    { on: 'ram' as const, syncMs: 0.4, readMs: 0.1 },
  ];
  const choice = { on: 'none' as const, why: 'no gain: ram: 1.3 times\x1b[2J', figures };
  const { root } = await fakeDaemon(t, {
    'fast.create': () => ({ changeId: 12, result: { choice } }),
  });
  const words = ['fast', 'create', 'build', '--size', '2G', '--on', 'auto'];
  golden(t, 'fast-no-gain', await personactl({ root }, ...words));
  golden(t, 'fast-no-gain.json', await personactl({ root }, ...words, '--json'));
});
