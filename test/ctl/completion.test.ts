import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import { fakeDaemon } from './fake-daemon.ts';
import * as samples from './samples.ts';
import { personactl } from './tool.ts';

const answers = {
  'slot.list': () => ({ slots: [samples.slot, samples.emptySlot] }),
  'persona.list': () => ({ personas: [samples.persona] }),
  'base.list': () => ({ bases: [samples.base] }),
  'slot.history': () => ({ slot: 'desk', generations: [samples.generation, samples.earlier] }),
};

const lines: readonly (readonly [line: string, words: string[]])[] = [
  ['sta', ['status']],
  ['persona ver', ['verify']],
  ['swap ', ['desk', 'play']],
  ['swap d', ['desk']],
  ['swap desk ', ['build']],
  ['swap --fresh desk b', ['build']],
  ['swap desk build ', []],
  ['swap desk build --fr', ['--fresh']],
  ['rollback desk --to ', ['4', '3']],
  ['persona diff ', ['build', 'debian']],
  ['persona create x --base ', ['debian']],
  ['persona create x --from-tree ', [':file']],
  ['exec desk --show ', [':folder']],
  ['exec desk -- ', []],
  ['completion ', ['bash', 'zsh', 'fish']],
  ['status --color ', ['auto', 'always', 'never']],
  ['frobnicate ', []],
];

for (const [line, words] of lines)
  test(`completion of "${line}"`, async (t) => {
    const { root } = await fakeDaemon(t, answers);
    const { status, out } = await personactl({ root }, '__complete', '--', ...line.split(' '));
    t.is(status, 0);
    t.deepEqual(
      out
        .split('\n')
        .filter((one) => one !== '')
        .map((one) => one.split('\t')[0]),
      words,
    );
  });

test('a list that comes in several replies is whole', async (t) => {
  const some = ['a', 'b', 'c'];
  const after = (last: unknown) => some.indexOf(String(last)) + 1;
  const { root, calls } = await fakeDaemon(t, {
    'persona.list': ({ after: last }) => ({
      personas: [{ ...samples.persona, name: some[after(last)]! }],
      ...(after(last) < 2 ? { more: true } : {}),
    }),
    'base.list': ({ after: last }) => ({
      bases: [{ ...samples.base, name: some[after(last)]! }],
      more: after(last) < 2,
    }),
  });
  for (const noun of ['persona', 'base']) {
    const listed = await personactl({ root }, noun, 'list', '--json');
    const rows = (JSON.parse(listed.out) as Record<string, { name: string }[]>)[`${noun}s`];
    t.deepEqual(
      rows?.map(({ name }) => name),
      some,
    );
  }
  t.is(calls.length, 6);
});

test('the first word is any command, options that were given are not offered again', async (t) => {
  const { out } = await personactl({}, '__complete', '--', '');
  for (const word of ['status', 'swap', 'base', 'gc']) t.regex(out, new RegExp(`^${word}\t`, 'm'));
  t.notRegex(out, /__complete/);
  const flags = await personactl({}, '__complete', '--', 'swap', 'a', 'b', '--fresh', '--');
  t.notRegex(flags.out, /--fresh/);
  t.regex(flags.out, /--json/);
});

test('without a daemon there are no names, and no error', async (t) => {
  const answered = await personactl({}, '__complete', '--', 'swap', '');
  t.deepEqual(answered, { status: 0, out: '', err: '' });
});

test('a daemon that does not answer is not waited for', async (t) => {
  const { root } = await fakeDaemon(t, { 'slot.list': () => new Promise(() => {}) });
  const words = ['__complete', '--', 'swap', ''];
  t.deepEqual(await personactl({ root, momentMs: 1 }, ...words), { status: 0, out: '', err: '' });
});

for (const shell of ['bash', 'zsh', 'fish'])
  when(test, { tools: [shell] })(`the script for ${shell} is sound`, async (t) => {
    const { out } = await personactl({}, 'completion', shell);
    const file = join(temporaryFolder(t), 'script');
    writeFileSync(file, out);
    execFileSync(shell, ['-n', file]);
    t.regex(out, /personactl __complete/);
  });

when(test, { tools: ['bash'] })('bash completes by the script', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'persona-ctl-completion-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  // What the tool would say stands in a file: the script is what is tested.
  writeFileSync(join(folder, 'personactl'), '#!/bin/sh\nprintf "swap\\tMake\\nstatus\\tShow\\n"\n');
  chmodSync(join(folder, 'personactl'), 0o755);
  const { out } = await personactl({}, 'completion', 'bash');
  const use =
    'COMP_WORDS=(personactl s); COMP_CWORD=1; _personactl personactl s; declare -p COMPREPLY';
  const said = execFileSync('bash', ['--norc', '-c', `${out}\n${use}`], {
    env: { PATH: `${folder}:${process.env.PATH}` },
  });
  t.is(said.toString(), 'declare -a COMPREPLY=([0]="swap" [1]="status")\n');
});
