import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createGroup, readKnob, removeGroup, writeKnob } from '../../../daemon/kernel/cgroups.ts';
import { removeOrphanGroups } from '../../../daemon/kernel/child-group.ts';
import { compileNative } from '../../../scripts/launcher.ts';
import { memory1Needs, memoryHierarchy } from '../../support/memory-group.ts';
import { partner } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const leaser = fileURLToPath(new URL('leasing-child.ts', import.meta.url));
const soft = 'memory.soft_limit_in_bytes';
const hard = 'memory.limit_in_bytes';

const needs = { ...memory1Needs, tools: ['xargs'] };
const version1 = when(test, needs);
const compiled = when(test, { ...needs, tools: ['xargs', 'cc'] });

const built = mkdtempSync(join(tmpdir(), 'personad-test-'));
const native = join(built, 'lease-guard');
test.before(() => {
  compileNative('lease-guard', native);
});
test.after.always(() => rmSync(built, { recursive: true, force: true }));

/** Throws when it does not come true: what is waited for is bound to 5 s. */
async function within5s(what: string, question: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!question()) {
    if (performance.now() > end) throw new Error(`not within 5 s: ${what}`);
    await pause(10);
  }
}

/** A process with leases on a real group of the test. */
function leasing(t: ExecutionContext, name: string, program?: string) {
  const { at } = memoryHierarchy(1)!;
  const group = `persona-test-${name}-${process.pid}`;
  const folder = `${at}/${group}`;
  const root = temporaryFolder(t);
  createGroup(folder);
  const words = ['--no-warnings', leaser, root, at, group, ...(program ? [program] : [])];
  const child = partner(t, process.execPath, ...words);
  t.teardown(async () => {
    await child.end();
    await within5s('the guard has ended', () => !existsSync(join(root, 'run/leases.json')));
    removeGroup(folder);
    removeOrphanGroups();
  });
  const ask = async (order: string) => {
    child.say(order);
    return JSON.parse(await child.line()) as { answer: unknown; problem?: string };
  };
  const pid = child.process.pid!;
  const guards = () =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
      .split(' ')
      .filter(Boolean)
      .map(Number);
  const value = (knob: string) => readKnob(folder, knob);
  return { child, ask, guards, value, folder, file: join(root, 'run/leases.json') };
}

async function givesBack(t: ExecutionContext, name: string, program?: string): Promise<void> {
  const { child, ask, guards, value, file } = leasing(t, name, program);
  const free = [value(soft), value(hard)];
  t.deepEqual(guards(), [], 'without a lease there is no guard');
  t.like(await ask('soft 8192'), { answer: { state: 'written' } });
  t.like(await ask('hard 67108864'), { answer: { state: 'written' } });
  t.deepEqual([value(soft), value(hard)], ['8192', '67108864']);
  const [guard, ...more] = guards();
  t.deepEqual(more, []);
  const stat = readFileSync(`/proc/${guard}/stat`, 'latin1');
  const [, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  t.is(Number(session), guard!, 'a terminal does not end it with the daemon');
  t.regex(readFileSync(`/proc/${guard}/cgroup`, 'latin1'), /:memory:\/personad-children\/guard-/);
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${guard}/status`, 'latin1'));
  t.true(Number(resident?.[1]) < 8_192, `${resident?.[1]} KiB`);
  const killed = performance.now();
  await child.end();
  await within5s('both knobs are free', () => value(soft) === free[0] && value(hard) === free[1]);
  t.log(`given back ${Math.round(performance.now() - killed)} ms after SIGKILL`);
  await within5s('no lease is left', () => !existsSync(file));
  await within5s('the guard has ended', () => !existsSync(`/proc/${guard}`));
}
version1('a daemon that is killed has its knobs given back within 5 s', (t) =>
  givesBack(t, 'guard'),
);
compiled('the same by the native guard', (t) => givesBack(t, 'native', native));

compiled('the native guard needs nothing but itself to give back', async (t) => {
  const { child, ask, guards, value, file } = leasing(t, 'alone', native);
  const free = [value(soft), value(hard)];
  await ask('soft 8192');
  await ask('hard 67108864');
  await ask('soft 12289');
  const [guard] = guards();
  const status = readFileSync(`/proc/${guard}/status`, 'latin1');
  const kib = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  t.true(kib('VmLck') > 0, 'its memory is locked');
  // What follows it finds a book that says nothing: nobody else has given back.
  rmSync(file);
  writeFileSync(file, 'no leases');
  await child.end();
  await within5s('both knobs are free', () => value(soft) === free[0] && value(hard) === free[1]);
  await within5s('the guard has ended', () => !existsSync(`/proc/${guard}`));
  await within5s('the book was none', () => existsSync(`${file}.damaged`));
});

version1('with nothing leased there is no guard, and one that was ended is replaced', async (t) => {
  const { child, ask, guards, value } = leasing(t, 'regard');
  const free = value(soft);
  await ask('soft 8192');
  const [first] = guards();
  t.truthy(first);
  await ask('release');
  t.deepEqual(guards(), []);
  t.is(value(soft), free);
  await ask('soft 8192');
  const [second] = guards();
  process.kill(second!, 'SIGKILL');
  await within5s('the guard has ended', () => guards().length === 0);
  await ask('soft 12288');
  t.is(guards().length, 1);
  await child.end();
  await within5s('the knob is free', () => value(soft) === free);
});

version1('what another program has set meanwhile stays, also after a kill', async (t) => {
  const { child, ask, guards, value, folder, file } = leasing(t, 'foreign');
  await ask('soft 8192');
  const [guard] = guards();
  await writeKnob(folder, soft, '4096');
  await child.end();
  await within5s('no lease is left', () => !existsSync(file));
  t.is(value(soft), '4096');
  await within5s('the guard has ended', () => !existsSync(`/proc/${guard}`));
});
