import test from 'ava';
import fc from 'fast-check';
import {
  type NamespaceKind,
  namespaceKinds,
  type ProcessWalls,
  parseRights,
} from '../../../daemon/kernel/process-walls.ts';
import {
  type Ground,
  type OwnFile,
  type SeenGroup,
  verified,
  type Wanted,
} from '../../../daemon/profiles/verification.ts';

// Whether what runs is as its profile says, by what the kernel would say.

const namespaces = (of: string) =>
  Object.fromEntries(namespaceKinds.map((kind) => [kind, `${kind}:[${of}]`])) as Record<
    NamespaceKind,
    string
  >;
const bwrap = { path: '/usr/bin/bwrap', device: '1', inode: '2' };
const ground: Ground = { machine: namespaces('machine'), sandbox: bwrap };

const apart = (pid: number, more: Partial<ProcessWalls> = {}): ProcessWalls => ({
  pid,
  program: { path: '/usr/bin/keys', device: '1', inode: '9' },
  namespaces: namespaces('own'),
  ...{ noNewPrivs: true, filtered: true, capable: false },
  mounts: [{ at: '/home/me', device: '7:1' }],
  ...more,
});
const outer = apart(1, { program: bwrap, namespaces: namespaces('machine'), filtered: false });

const group = (processes: ProcessWalls[], knobs: Record<string, string> = {}): SeenGroup => ({
  processes,
  pids: processes.map(({ pid }) => pid),
  knob: (name) => knobs[name],
});
const secure: Wanted = {
  profile: 'secure',
  weights: {},
  pid: 1,
  apart: { net: false, device: '7:1' },
};
const stateOf = (name: string, wanted: Wanted, seen: SeenGroup, on = ground) =>
  verified(wanted, seen, on).find((check) => check.name === name);

test('walls hold while all stand around every process inside, and the sandbox alone is outside', (t) => {
  const seen = group([outer, apart(2), apart(3)]);
  t.deepEqual(
    verified(secure, seen, ground).map(({ name, state }) => [name, state]),
    [
      ['group', 'holds'],
      ['weights', 'holds'],
      ['walls', 'holds'],
    ],
  );
  const unknown = { ...ground, sandbox: undefined };
  t.is(stateOf('walls', secure, seen, unknown)?.state, 'fails', 'no sandbox is known here');
  t.is(stateOf('walls', secure, group([outer]))?.state, 'unknown');
});

test('any one wall that is missing around any one process is told', (t) => {
  const gaps: [string, Partial<ProcessWalls>][] = [
    ...namespaceKinds
      .filter((kind) => kind !== 'pid')
      .map((kind): [string, Partial<ProcessWalls>] => [
        `${kind} namespace`,
        { namespaces: { ...namespaces('own'), [kind]: ground.machine[kind] } },
      ]),
    ['is outside of them', { namespaces: namespaces('machine') }],
    ['win privileges', { noNewPrivs: false }],
    ['no filter', { filtered: false }],
    ['has capabilities', { capable: true }],
    ['its enclave', { mounts: [{ at: '/home/me', device: '8:1' }] }],
  ];
  fc.assert(
    fc.property(fc.nat(5), fc.nat(5), fc.constantFrom(...gaps), (before, after, [text, gap]) => {
      const sound = (count: number, from: number) =>
        Array.from({ length: count }, (_, i) => apart(from + i));
      const seen = group([outer, ...sound(before, 10), apart(2, gap), ...sound(after, 20)]);
      const check = stateOf('walls', secure, seen);
      return check?.state === 'fails' && check.detail.includes(text) && /\b2\b/.test(check.detail);
    }),
  );
  t.pass();
});

test('the network is a wall unless it was granted; what was forgotten is unknown', (t) => {
  const net = { namespaces: { ...namespaces('own'), net: ground.machine.net } };
  const seen = group([outer, apart(2, net)]);
  const granted = { ...secure, apart: { net: true, device: '7:1' } };
  t.is(stateOf('walls', secure, seen)?.state, 'fails');
  t.is(stateOf('walls', granted, seen)?.state, 'holds');
  t.is(stateOf('walls', { ...secure, apart: undefined }, seen)?.state, 'unknown');
});

test('a process outside of its group, other weights, and folders that are not from memory are told', (t) => {
  const plain = apart(5, { mounts: [] });
  const standard: Wanted = {
    profile: 'standard',
    weights: { cpuWeight: 300, memoryLow: 10_000_000 },
    pid: 5,
  };
  const knobs = { 'cpu.weight': '300', 'memory.low': '9998336' };
  const states = (wanted: Wanted, seen: SeenGroup) =>
    verified(wanted, seen, ground).map(({ state }) => state);
  t.deepEqual(states(standard, group([plain], knobs)), ['holds', 'holds']);
  t.deepEqual(states(standard, group([plain])), ['holds', 'unknown']);
  t.deepEqual(states(standard, group([plain], { ...knobs, 'cpu.weight': '100' })), [
    'holds',
    'fails',
  ]);
  t.deepEqual(states(standard, group([plain], { ...knobs, 'memory.low': '0' })), [
    'holds',
    'fails',
  ]);
  t.deepEqual(states({ ...standard, pid: 6 }, group([plain], knobs)), ['fails', 'holds']);
  const served = [{ at: '/home/mé/.cache', device: '0:50' }];
  const fast: Wanted = { profile: 'fast', weights: {}, served };
  const at = Buffer.from('/home/mé/.cache').toString('latin1');
  const memory = (...mounts: ProcessWalls['mounts']) =>
    stateOf(
      'memory',
      fast,
      group([apart(1, { mounts: [{ at, device: '0:50' }] }), apart(2, { mounts })]),
    )?.state;
  t.is(memory({ at, device: '8:1' }, { at, device: '0:50' }), 'holds');
  t.is(memory({ at, device: '0:50' }, { at, device: '8:1' }), 'fails', 'something lies over it');
  t.is(memory(), 'fails');
  t.is(stateOf('memory', fast, group([outer]))?.state, 'unknown');
  t.is(stateOf('memory', { ...fast, served: undefined }, group([plain]))?.state, 'fails');
  const violating = { ...standard, violation: 'must be kept apart' };
  t.is(stateOf('walls', violating, group([plain]))?.state, 'fails');
});

test('a file of its own that runs is to be root’s alone; a script has none', (t) => {
  const own = { path: '/usr/bin/keys' };
  const program = (file?: OwnFile) =>
    stateOf(
      'program',
      { ...secure, ownFile: ({ inode }) => (inode === '9' ? file : undefined) },
      group([outer, apart(2)]),
    );
  t.like(program(own), { state: 'holds', detail: '/usr/bin/keys, which root alone can change' });
  t.is(program()?.state, 'unknown');
  t.is(program({ ...own, unseen: 'it was replaced' })?.detail, 'it was replaced');
  const bad = program({ ...own, changers: 'uid 7, whose it is,' });
  t.like(bad, {
    state: 'fails',
    detail: 'process 2 runs /usr/bin/keys, which uid 7, whose it is, can change',
  });
  t.is(stateOf('program', secure, group([outer])), undefined, 'it is known by no file');
});

test('rights that the kernel does not tell are taken for none of the walls', (t) => {
  const status =
    'Name:\tx\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n';
  t.deepEqual(parseRights(status), { noNewPrivs: true, filtered: true, capable: false });
  t.deepEqual(parseRights(''), { noNewPrivs: false, filtered: false, capable: true });
  t.true(parseRights(status.replace('0000\n', '0200\n')).capable);
});
