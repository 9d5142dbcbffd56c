import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readHierarchies } from '../../../daemon/kernel/cgroups.ts';
import { type ConfinedProgram, startConfined } from '../../../daemon/kernel/confined.ts';
import { keepDescriptorsFromChildren, ProgramFailed } from '../../../daemon/kernel/exec.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

const needs = { root: true, tools: ['bwrap', 'setpriv', 'prlimit', 'bash'] };
const node = { from: process.execPath, at: '/node' };

async function output(
  program: Partial<ConfinedProgram> & { argv: readonly string[] },
): Promise<string> {
  const child = await startConfined({ shown: [], deadlineMs: 60_000, ...program });
  let text = '';
  for await (const piece of child.stdout) text += String(piece);
  await child.done;
  return text.trim();
}

const bash = (script: string, more: Partial<ConfinedProgram> = {}) =>
  output({ argv: ['/bin/bash', '-c', script], ...more });

const groupsOfChildren = () =>
  readHierarchies().flatMap(({ at }) => {
    try {
      return readdirSync(`${at}/personad-children`).filter((one) => one.startsWith('confined-'));
    } catch {
      return [];
    }
  });

when(test, needs)('it has a uid of its own, no group and no capability', async (t) => {
  const ids = await Promise.all([bash('id -u; id -G'), bash('id -u; id -G')]);
  const [a, b] = ids.map((one) => one.split('\n'));
  t.true(Number(a?.[0]) >= 1_900_000_000);
  t.not(a?.[0], b?.[0]);
  t.is(a?.[0], a?.[1]);
});

when(test, needs)('it sees no file of the host but /usr and what is shown', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'own'));
  const seen = await bash(
    'echo /*; echo /own/*; test -e /etc/passwd || echo none; >/x || echo ro',
    {
      shown: [{ from: join(folder, 'own'), at: '/own' }],
    },
  );
  const [root, own, host, write] = seen.split('\n');
  const allowed = ['/bin', '/lib', '/lib32', '/lib64', '/own', '/sbin', '/usr'];
  t.deepEqual(
    root?.split(' ').filter((one) => !allowed.includes(one)),
    [],
  );
  t.is(own, '/own/*');
  t.is(host, 'none');
  t.is(write, 'ro');
});

when(test, needs)('its descriptors are exactly those given', async (t) => {
  const file = openSync('/usr/bin/env', 'r');
  const other = openSync('/usr/bin/id', 'r');
  t.teardown(() => [file, other].forEach(closeSync));
  // What the shell that started the tests left open must not count. (bash itself keeps a copy at 10.)
  keepDescriptorsFromChildren();
  const script = 'for fd in {0..9} {11..300}; do if { : <&$fd; }; then echo $fd; fi; done';
  for (const fds of [[], [file], [file, other]]) {
    const seen = await bash(script, { fds });
    t.is(seen, ['0', '1', '2', ...fds.map((_, i) => String(3 + i))].join('\n'));
  }
});

when(test, needs)('it cannot mount, make namespaces, reach a network or trace', async (t) => {
  const program = `
    const { execFileSync } = require('node:child_process');
    const net = require('node:net');
    const tries = [['mount', '-t', 'tmpfs', 'x', '/usr'], ['unshare', '-U', 'true'], ['unshare', '-m', 'true'],
      ['chroot', '/usr', 'true'], ['setpriv', '--reuid', '0', 'true'], ['mknod', '/tmp/x', 'c', '1', '3']];
    for (const [file, ...args] of tries) {
      try { execFileSync('/usr/bin/env', [file, ...args], { stdio: 'pipe' }); console.log('could', file); }
      catch { console.log('refused'); }
    }
    net.connect(80, '127.0.0.1').on('error', (e) => console.log(e.code)).on('connect', () => console.log('could connect'));`;
  const seen = await output({ argv: ['/node', '-e', program], shown: [node] });
  t.is(seen, `${'refused\n'.repeat(6)}EPERM`);
});

when(test, needs)('its output is bounded, its memory too', async (t) => {
  const folder = temporaryFolder(t);
  const file = openSync(join(folder, 'out'), 'w+');
  t.teardown(() => closeSync(file));
  const write = `const fs = require('node:fs'); const b = Buffer.alloc(65536, 1);
    try { for (let at = 0; ; at += b.length) fs.writeSync(3, b); } catch (e) { console.log(e.code); }`;
  const program = { argv: ['/node', '-e', write], shown: [node], fds: [file] };
  t.is(await output({ ...program, limits: { fileBytes: 1 << 20 } }), 'EFBIG');
  t.true(statSync(join(folder, 'out')).size <= 1 << 20);
  const eat = 'const a = []; for (;;) a.push(Buffer.alloc(1 << 24, 1));';
  await t.throwsAsync(
    output({ argv: ['/node', '-e', eat], shown: [node], limits: { memoryBytes: 256 << 20 } }),
    { instanceOf: ProgramFailed },
  );
});

when(test, needs)(
  'a hung one ends at its deadline, a killed one at once, with all its processes',
  async (t) => {
    const error = await t.throwsAsync(bash('sleep 1000 & sleep 1000', { deadlineMs: 1_000 }), {
      instanceOf: ProgramFailed,
    });
    t.true((error as ProgramFailed).ended.timedOut);
    const child = await startConfined({
      argv: ['/bin/bash', '-c', 'sleep 1000 & echo up; wait'],
      shown: [],
      deadlineMs: 600_000,
    });
    for await (const piece of child.stdout) {
      t.is(String(piece), 'up\n');
      child.kill();
    }
    // The pipe ended: every process that held it is gone.
    await t.throwsAsync(child.done, { instanceOf: ProgramFailed });
  },
);

when(test, needs)('one whose launcher is killed while it forks ends, too', async (t) => {
  t.timeout(120_000);
  const program = join(import.meta.dirname, 'kill-as-it-forks.ts');
  const killer = spawn(process.execPath, ['--no-warnings', program, String(process.pid)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => killer.kill('SIGKILL'));
  await once(killer.stdout, 'data');
  for (let round = 0; round < 25; round += 1)
    await t.throwsAsync(bash('sleep 1000'), { instanceOf: ProgramFailed });
});

when(test, needs)(
  'it lies in a cgroup of its own where that can be made, gone afterwards',
  async (t) => {
    const child = await startConfined({
      argv: ['/bin/bash', '-c', 'echo up; read -r'],
      shown: [],
      deadlineMs: 60_000,
      input: true,
    });
    const before = readFileSync(`/proc/${child.pid}/cgroup`, 'utf8');
    if (groupsOfChildren().length === 0) t.log('this machine lets us make no cgroup');
    else t.regex(before, /personad-children\/confined-/);
    child.stdin?.end('\n');
    for await (const _ of child.stdout);
    await child.done;
    const own = /personad-children\/(confined-\S+)/.exec(before)?.[1];
    t.false(groupsOfChildren().includes(String(own)));
  },
);
