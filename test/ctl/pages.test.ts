import test from 'ava';
import type { MethodName } from '../../ipc/methods/index.ts';
import { type Answerer, fakeDaemon } from './fake-daemon.ts';
import { golden } from './golden.ts';
import * as samples from './samples.ts';
import { personactl } from './tool.ts';

const { base, persona, slot, emptySlot, generation, earlier, key, nowMs } = samples;

const difference = (op: 'added' | 'removed' | 'changed', path: string, rest: object) => ({
  op,
  path,
  type: 'file',
  ...rest,
});

const change = {
  ...samples.stuck,
  holds: ['slot:old'],
  tasks: [
    { kind: 'unmount', summary: 'take the tree off', params: {}, status: 'undone' },
    { kind: 'remove', summary: 'remove what was written', params: {}, status: 'failed' },
  ],
};

const answers: Partial<Record<MethodName, Answerer>> = {
  'daemon.status': () => samples.status,
  'daemon.ping': () => ({ version: '0.1.0', apiVersion: 1, pid: 100 }),
  'daemon.doctor': () => ({
    apiVersion: 1,
    kernel: '6.1.0-18',
    capabilities: [
      { name: 'overlay', usedFor: 'layers', state: 'ok', detail: 'works' },
      {
        name: 'mount-beneath',
        usedFor: 'swaps without a gap',
        state: 'fallback',
        detail: 'a link is replaced instead',
        fix: 'Linux 6.5 or newer',
      },
    ],
    checks: [
      { name: 'journal', state: 'ok', detail: 'every record is whole' },
      { name: 'space', state: 'failed', detail: '10 MiB free', fix: 'personactl gc' },
    ],
  }),
  'base.list': () => ({ bases: [base] }),
  'base.show': () => ({ base }),
  'persona.list': () => ({
    personas: [
      persona,
      {
        ...persona,
        name: 'odd',
        description: 'a\u202eb',
        signature: { state: 'none' },
        usedBy: { slots: [] },
      },
    ],
  }),
  'persona.show': () => ({ persona }),
  'persona.diff': ({ after }) => ({
    differences:
      after === undefined
        ? [
            difference('added', 'etc/motd', { bytesAfter: 15 }),
            difference('changed', 'etc/passwd', {
              bytesBefore: 900,
              bytesAfter: 1000,
              what: ['content', 'time'],
            }),
          ]
        : [difference('removed', 'usr/bin/\x1b[2Jnano', { bytesBefore: 280_000 })],
    more: after === undefined,
    totals: { added: 1, removed: 1, changed: 1, bytesAdded: 115, bytesRemoved: 280_000 },
  }),
  'slot.list': () => ({ slots: [slot, emptySlot] }),
  'slot.history': () => ({ slot: 'desk', generations: [generation, earlier] }),
  'change.list': () => ({ changes: [samples.running, samples.stuck] }),
  'change.show': () => ({ change }),
  'key.list': () => ({ keys: [key] }),
  'partitions.show': () => samples.partitions,
  'partitions.explain': () => samples.explained,
  'partitions.history': () => samples.seen,
  'fast.list': () => ({ partitions: samples.fastPartitions }),
  'system.inventory': () => ({
    readMs: samples.nowMs - 60_000,
    system: { maker: 'Maker', model: 'Desk \x1b[2J 9', virtual: false },
    cpu: { model: 'Maker Fast 8', cores: 16, physicalCores: 8, maxMhz: 4700 },
    memory: {
      totalBytes: 33_328_332_800,
      modules: [
        { slot: 'DIMM A1', bytes: 17_179_869_184, kind: 'DDR5', mhz: 5600, ecc: false },
        { slot: 'DIMM B1', bytes: 17_179_869_184, kind: 'DDR5' },
      ],
    },
    disks: [
      {
        name: 'nvme0n1',
        kind: 'NVMe' as const,
        bytes: 512_110_190_592,
        model: 'Maker 980',
        transport: 'nvme',
        removable: false,
      },
      {
        name: 'sdb',
        kind: 'HDD' as const,
        bytes: 2_000_398_934_016,
        model: '',
        transport: 'usb',
        removable: true,
      },
    ],
    namespaces: [
      {
        name: 'nvme0n1',
        controller: 'nvme0',
        model: 'Maker 980',
        nsid: 1,
        bytes: 512_110_190_592,
        blockBytes: 512,
      },
    ],
  }),
  'volume.list': () => ({ volumes: samples.volumes, governed: samples.governed }),
  'system.integrity': () => samples.integrity,
  'enclave.list': () => ({ enclaves: [samples.enclave, samples.closedEnclave] }),
  'enclave.show': () => ({ enclave: samples.enclave, assurance: samples.assurance }),
  'launch.plan': ({ app }) => ({
    app: String(app),
    profile: 'standard' as const,
    rule: 'asked',
    reason: 'the caller asked for fast, and it cannot be had: \x1b[2J',
    placement: { state: 'none' as const, reason: 'nothing is started' },
    argv: ['/usr/bin/bwrap', '--dev', '/dev'],
    environment: { set: { TMPDIR: '/run/x' }, unset: ['LD_PRELOAD'] },
    notices: ['the caller asked for fast'],
  }),
  'app.list': () => ({
    applications: [
      {
        id: 'firefox-esr',
        name: 'Firefox \x1b[2J',
        profile: 'fast' as const,
        rule: 'stated',
        executables: ['/usr/bin/firefox-esr'],
      },
      {
        id: 'vault',
        profile: 'secure' as const,
        rule: 'required',
        refused: 'no bwrap',
        executables: [],
      },
    ],
    more: 3,
  }),
  'app.show': () => ({ application: samples.application }),
  'app.explain': () => ({ explanation: samples.explanation }),
  'launch.apart': () => ({
    applications: [
      {
        app: 'keys',
        pid: 4711,
        uid: 1000,
        startedMs: samples.nowMs,
        enclave: 'vault',
        ...samples.apart,
      },
    ],
    more: 0,
  }),
  'launch.verify': () => ({ applications: samples.verifiedApplications, more: 1 }),
  'launch.list': () => ({ applications: samples.runningApplications, more: 0 }),
  'app.sync': () => ({
    applications: [samples.served, samples.short],
  }),
  'app.import': () => ({
    counts: [
      { kind: 'desktop', files: 3, entries: 3 },
      { kind: 'ananicy', files: 361, entries: 15_794 },
    ],
    problems: [{ from: '/etc/ananicy.d/x.rules:3', text: 'it is no JSON' }],
    problemsMore: 2,
    presets: [
      {
        name: 'balanced',
        summary: 'General',
        include: [],
        sets: ['cpu'],
        from: '/usr/lib/tuned/balanced/tuned.conf',
      },
    ],
  }),
  'system.df': () => ({
    path: '/var/lib/persona',
    totalBytes: 53_687_091_200,
    freeBytes: 19_327_352_832,
    reserveBytes: 2_684_354_560,
    kinds: [
      { kind: 'bases', count: 1, bytes: 196_083_712, reclaimableBytes: 0 },
      { kind: 'uppers', count: 4, bytes: 20_971_520, reclaimableBytes: 10_485_760 },
    ],
  }),
};

const pages: readonly (readonly [name: string, ...words: string[]])[] = [
  ['status', 'status'],
  ['doctor', 'doctor'],
  ['version', 'version'],
  ['base-list', 'base', 'list'],
  ['base-show', 'base', 'show', 'debian'],
  ['persona-list', 'persona', 'list'],
  ['persona-show', 'persona', 'show', 'build'],
  ['persona-diff', 'persona', 'diff', 'build', 'writing'],
  ['slot-list', 'slot', 'list'],
  ['slot-show', 'slot', 'show', 'desk'],
  ['history', 'history', 'desk'],
  ['change-list', 'change', 'list'],
  ['change-show', 'change', 'show', '9'],
  ['key-list', 'key', 'list'],
  ['df', 'df'],
  ['inventory', 'system', 'inventory'],
  ['volume-list', 'volume', 'list'],
  ['volume-show', 'volume', 'show', 'user'],
  ['system-integrity', 'system', 'integrity'],
  ['partitions-show', 'partitions', 'show'],
  ['partitions-explain', 'partitions', 'explain', '--all'],
  ['partitions-history', 'partitions', 'history'],
  ['fast-list', 'fast', 'list'],
  ['enclave-list', 'enclave', 'list'],
  ['enclave-show', 'enclave', 'show', 'vault'],
  ['app-list', 'app', 'list'],
  ['app-show', 'app', 'show', 'firefox-esr'],
  ['app-explain', 'app', 'explain', 'firefox-esr'],
  ['app-apart', 'app', 'apart'],
  ['app-import', 'app', 'import'],
  ['app-running', 'app', 'running'],
  ['profile-verify', 'profile', 'verify'],
  ['app-sync', 'app', 'sync'],
];

for (const [name, ...words] of pages) {
  test(`${words.join(' ')} as text and as JSON`, async (t) => {
    const { root } = await fakeDaemon(t, answers);
    golden(t, name, await personactl({ root }, ...words));
    const json = await personactl({ root, terminal: true }, ...words, '--json');
    golden(t, `${name}.json`, json);
    for (const line of name === 'persona-diff' ? json.out.trim().split('\n') : [json.out])
      t.is(JSON.parse(line).apiVersion, 1);
  });
}

test('run --dry-run as text and as JSON', async (t) => {
  const { root } = await fakeDaemon(t, answers);
  const words = ['org.example.Editor', '--', '/bin/sh'];
  golden(t, 'run', await personactl({ root }, 'run', '--dry-run', ...words));
  golden(t, 'run.json', await personactl({ root }, 'run', '--dry-run', '--json', ...words));
});

test('status has colours and bars in a terminal, and neither without', async (t) => {
  const { root } = await fakeDaemon(t, answers);
  golden(t, 'status-terminal', await personactl({ root, terminal: true }, 'status'));
  const plain = await personactl(
    { root, terminal: true, env: { NO_COLOR: '1', LANG: 'C' } },
    'status',
  );
  t.notRegex(plain.out, /\x1b/);
  t.regex(plain.out, /^[\x20-\x7e\n]*$/);
  const forced = await personactl({ root }, 'status', '--color=always');
  t.regex(forced.out, /\x1b\[32m/);
  const never = await personactl({ root, terminal: true }, 'status', '--color', 'never');
  t.notRegex(never.out, /\x1b/);
});

test('lists that are empty say so on stderr, and nothing on stdout', async (t) => {
  const { root } = await fakeDaemon(t, {
    'slot.list': () => ({ slots: [] }),
    'base.list': () => ({ bases: [] }),
    'persona.list': () => ({ personas: [] }),
    'change.list': () => ({ changes: [] }),
    'slot.history': () => ({ slot: 'desk', generations: [] }),
    'enclave.list': () => ({ enclaves: [] }),
  });
  const words = [
    'enclave list',
    'slot list',
    'base list',
    'persona list',
    'change list',
    'history desk',
  ];
  for (const line of words) {
    const { status, out, err } = await personactl({ root }, ...line.split(' '));
    t.deepEqual([status, out], [0, '']);
    t.regex(err, /^\S.*\n$/, line);
    t.is((await personactl({ root }, ...line.split(' '), '-q')).err, '');
  }
});

test('nothing that came from elsewhere reaches the output raw', async (t) => {
  const evil = '\x1b[31m\u202eevil\u0007\n';
  const { root } = await fakeDaemon(t, {
    'daemon.status': () => ({
      ...samples.status,
      daemon: { ...samples.status.daemon, state: 'degraded', reason: evil },
      slots: [
        {
          ...slot,
          problem: evil,
          owner: { uid: 5, name: evil },
          processes: [{ pid: 1, uid: 2, command: evil }],
        },
      ],
      changes: [{ ...samples.stuck, summary: evil, error: { code: 'x', message: evil } }],
      notices: [{ text: evil, command: evil }],
      fallbacks: [{ capability: evil, using: evil, reason: evil }],
    }),
    'persona.show': () => ({
      persona: { ...persona, description: evil, creator: evil, privileged: [evil] },
    }),
    'slot.history': () => ({ slot: 'desk', generations: [{ ...generation, failure: evil }] }),
  });
  for (const line of ['status', 'persona show x', 'history desk']) {
    for (const form of [[], ['--json']]) {
      const { out } = await personactl({ root }, ...line.split(' '), ...form);
      t.regex(out, /evil/);
      t.notRegex(out, /[\x00-\x09\x0b-\x1f\x7f\u202e]/, line);
    }
  }
});

test('the clock of the samples is fixed', (t) => {
  t.is(new Date(nowMs).toISOString(), '2026-11-21T06:00:00.000Z');
});

test('parts of both sides are set as they are said, and none is nothing', async (t) => {
  const shares = { ...samples.partitions.shares!, user: 60 };
  const { root, calls } = await fakeDaemon(t, { 'partitions.set': () => ({ shares }) });
  golden(t, 'partitions-set', await personactl({ root }, 'partitions', 'set', '--user', '60'));
  t.deepEqual(calls, [{ method: 'partitions.set', params: { user: 60 } }]);
  const none = await personactl({ root }, 'partitions', 'set');
  t.is(none.status, 2);
  t.regex(none.err, /needs one of --user, --least/);
});
