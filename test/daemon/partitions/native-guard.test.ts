import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { lockFile } from '../../../daemon/kernel/files.ts';
import type { Lease } from '../../../daemon/partitions/lease.ts';
import { leaseLines } from '../../../daemon/partitions/lease-lines.ts';
import { compileNative } from '../../../scripts/launcher.ts';
import { sanitizerFlags, sanitizersMissing } from '../../ctl/launch-plans.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

// The native guard by itself, on trees of plain files: what it writes, and what it leaves alone.

const sanitized = when(test, { other: sanitizersMissing });
const built = mkdtempSync(join(tmpdir(), 'personad-test-'));
const guard = join(built, 'lease-guard');
if (sanitizersMissing() === undefined)
  test.before(() => {
    compileNative('lease-guard', guard, sanitizerFlags);
  });
test.after.always(() => rmSync(built, { recursive: true, force: true }));

/** Groups as files, and leases on them. */
function groups(t: ExecutionContext) {
  const root = join(temporaryFolder(t), 'tree');
  mkdirSync(root);
  const file = (group: string, knob: string) => join(root, group, knob);
  return {
    root,
    lock: join(root, '../lock'),
    put(group: string, knob: string, text: string) {
      mkdirSync(join(root, group), { recursive: true });
      writeFileSync(file(group, knob), text);
    },
    now: (group: string, knob: string) => readFileSync(file(group, knob), 'utf8'),
    lease(group: string, knob: string, more: Partial<Lease> = {}): Lease {
      const inode = String(statSync(join(root, group)).ino);
      const lease = { root, version: 2, controller: 'memory', group, inode, boot: 'b' } as const;
      return { ...lease, knob, old: '0', wanted: '8192', sinceMs: 1, ...more };
    },
  };
}

/** Runs it with this input to its end. */
function run(lock: string, input: string | Buffer) {
  const { status, stderr } = spawnSync(guard, [lock], { input, encoding: 'utf8' });
  return { status, stderr };
}
const well = { status: 0, stderr: '' };

sanitized('it gives back what has a value of ours, and nothing else', (t) => {
  const { put, now, lease, lock, root } = groups(t);
  for (const [group, text] of Object.entries({
    wanted: '8192\n',
    rounded: '8192\n',
    read: '4096\n',
    foreign: '12288\n',
    longer: '81920\n',
    other: '8192\n',
    'deep/below': 'max\n',
  }))
    put(group, 'memory.low', text);
  symlinkSync('wanted', join(root, 'link'));
  put('.', 'io.cost.qos', '8:0 enable=1 ctrl=user rpct=1\n8:16 enable=1 ctrl=auto rpct=2 rlat=3\n');
  put('weighed', 'io.weight', 'default 400\n8:0 100\n');
  put('unsaid', 'io.weight', '8:0 400\n');
  const leases = [
    lease('wanted', 'memory.low'),
    lease('rounded', 'memory.low', { wanted: '8200' }),
    lease('read', 'memory.low', { read: '4096', old: 'max' }),
    lease('foreign', 'memory.low'),
    lease('longer', 'memory.low'),
    lease('other', 'memory.low', { inode: '1' }),
    lease('link', 'memory.low'),
    lease('deep/below', 'memory.low', { wanted: 'max' }),
    lease('.', 'io.cost.qos', {
      device: '8:16',
      wanted: 'enable=1 ctrl=auto',
      old: 'enable=0 ctrl=auto',
    }),
    lease('weighed', 'io.weight', { wanted: '400', old: '100' }),
    lease('unsaid', 'io.weight', { wanted: '400', old: '100' }),
    { ...lease('wanted', 'memory.low'), group: 'deep/../../tree/wanted', knob: 'memory.high' },
    { ...lease('wanted', 'memory.low'), group: '../tree/wanted', old: 'left' },
  ];
  t.deepEqual(run(lock, leaseLines(leases, 'b')), well);
  const found = (group: string) => now(group, 'memory.low');
  t.is(found('wanted'), '0');
  t.is(found('rounded'), '0');
  t.is(found('read'), 'max');
  t.is(found('foreign'), '12288\n');
  t.is(found('longer'), '81920\n');
  t.is(found('other'), '8192\n');
  t.is(found('deep/below'), '0');
  t.is(now('.', 'io.cost.qos'), '8:16 enable=0 ctrl=auto');
  t.is(now('weighed', 'io.weight'), '100');
  t.is(now('unsaid', 'io.weight'), '8:0 400\n');
});

sanitized('leases of another boot, and what would be read as another field, are not told', (t) => {
  const { put, lease } = groups(t);
  put('a', 'memory.low', '8192\n');
  const others = [
    lease('a', 'memory.low', { boot: 'c' }),
    lease('a', 'memory.low', { old: '1\n2' }),
    lease('a', 'memory.low', { root: '/a\tb' }),
    lease('a', 'io.bfq.weight'),
  ];
  t.is(leaseLines(others, 'b'), '.\n');
});

sanitized('the last whole list counts', (t) => {
  const { put, now, lease, lock } = groups(t);
  const knob = ['a', 'memory.low'] as const;
  const list = (more?: Partial<Lease>) => leaseLines([lease(...knob, more)], 'b');
  put(...knob, '8192\n');
  const cut = list({ old: '2' }).slice(0, -1);
  t.deepEqual(run(lock, list({ old: '1' }) + cut), well);
  t.is(now(...knob), '1', 'one that was cut does not');
  put(...knob, '8192\n');
  t.deepEqual(run(lock, list() + leaseLines([], 'b')), well);
  t.is(now(...knob), '8192\n', 'nothing is leased any more');
  const many = Array.from({ length: 2000 }, (_, at) => list({ old: String(at) })).join('');
  t.deepEqual(run(lock, many), well);
  t.is(now(...knob), '1999');
  put(...knob, '8192\n');
  t.deepEqual(run(lock, 'x'.repeat(200_000)), { status: 1, stderr: '' });
  t.is(now(...knob), '8192\n', 'a list without an end');
});

sanitized(
  'a daemon that has the lock is left alone; what follows is started all the same',
  async (t) => {
    const { put, now, lease, lock } = groups(t);
    put('a', 'memory.low', '8192\n');
    const held = await lockFile(lock);
    const after = `${lock}.after`;
    const child = spawn(guard, [lock, '/bin/sh', '-c', `: > ${after}`]);
    child.stdin.end(leaseLines([lease('a', 'memory.low')], 'b'));
    t.deepEqual(await once(child, 'close'), [0, null]);
    t.is(now('a', 'memory.low'), '8192\n');
    t.true(existsSync(after));
    held?.close();
  },
);

/** It waits for a lock, or has ended. */
async function untilWaiting(child: ChildProcess): Promise<void> {
  const waits = new RegExp(`-> FLOCK .* ${child.pid} `);
  while (child.exitCode === null && !waits.test(readFileSync('/proc/locks', 'utf8')))
    await pause(1);
}

sanitized('a daemon whose pipe ends before its lock is waited for', async (t) => {
  const { put, now, lease, lock } = groups(t);
  put('a', 'memory.low', '8192\n');
  const held = await lockFile(lock);
  const child = spawn(guard, [lock]);
  const closed = once(child, 'close');
  child.stdin.end(leaseLines([lease('a', 'memory.low')], 'b'));
  await untilWaiting(child);
  held?.close();
  t.deepEqual(await closed, [0, null]);
  t.is(now('a', 'memory.low'), '0');
});

sanitized('input that makes no sense does nothing', (t) => {
  const { put, now, lease, lock } = groups(t);
  put('a', 'memory.low', '8192\n');
  const whole = leaseLines([lease('a', 'memory.low', { wanted: '4096' })], 'b');
  const odd = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    fc
      .array(fc.constantFrom('\t', '\n', '.', '.\n', 'a', '0', '/', '..', whole), { maxLength: 60 })
      .map((parts) => parts.join('')),
    // A line of ours with something else in the place of one part.
    fc
      .tuple(fc.nat(7), fc.string({ maxLength: 20 }))
      .map(([at, text]) => `${whole.split('\t').with(Math.min(at, 6), text).join('\t')}.\n`),
  );
  for (const input of fc.sample(odd, 80)) {
    const { status, stderr } = run(lock, input);
    t.true(status === 0 || status === 1, `${JSON.stringify(input)}: ${status} ${stderr}`);
    t.is(now('a', 'memory.low'), '8192\n');
  }
});
