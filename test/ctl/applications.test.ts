import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { temporaryFolder } from '../support/temp.ts';
import { fakeDaemon } from './fake-daemon.ts';
import { application, explanation } from './samples.ts';
import { personactl } from './tool.ts';

const served = (t: ExecutionContext) =>
  fakeDaemon(t, {
    'app.set': () => ({ changeId: 1, result: { application } }),
    'app.explain': () => ({ explanation }),
    'app.list': () => ({ applications: [], more: 0 }),
  });

const words = (line: string) => line.split(' ');

test('several things can be said of an application at once', async (t) => {
  const { root, calls } = await served(t);
  const said = await personactl(
    { root, env: { HOME: '/home/alice' } },
    ...words('app set paint --profile fast --loss-ok yes --memory 2G --name Paint'),
    ...words('--data /home/alice/.paint --data ~/.config/paint --cache /home/alice/.cache/paint'),
    ...words(
      '--executable /usr/bin/paint --needs libc6 --category Graphics --unset cpu --enclave art',
    ),
  );
  t.is(said.status, 0, said.err);
  t.regex(said.out, /^firefox-esr\n/);
  t.deepEqual(calls[0]?.params, {
    app: 'paint',
    set: {
      name: 'Paint',
      categories: ['Graphics'],
      profile: 'fast',
      memory: 2 * 1024 ** 3,
      dependencies: ['libc6'],
      data: ['~/.paint', '~/.config/paint'],
      cache: ['~/.cache/paint'],
      lossOk: true,
      enclave: 'art',
      executables: ['/usr/bin/paint'],
    },
    unset: ['cpu'],
    wait: true,
  });
  await personactl({ root }, ...words('app set paint --loss-ok no -a'));
  t.like(calls[1]?.params, { app: 'paint', everybody: true, set: { lossOk: false } });
});

test('what says nothing, or something else, is a wrong command line', async (t) => {
  const { root, calls } = await served(t);
  for (const line of [
    'app set paint',
    'app set paint --profile quick',
    'app set paint --unset profiles',
    'app set',
    'app explain ./nothing',
  ])
    t.is((await personactl({ root }, ...words(line))).status, 2, line);
  t.deepEqual(calls, []);
});

test('a program is asked about by its file', async (t) => {
  const { root, calls } = await served(t);
  const cwd = temporaryFolder(t);
  writeFileSync(join(cwd, 'paint'), '');
  t.is((await personactl({ root, cwd }, ...words('app explain ./paint --profile fast'))).status, 0);
  const { dev, ino } = statSync(join(cwd, 'paint'), { bigint: true });
  t.deepEqual(calls[0]?.params, {
    executable: { path: join(cwd, 'paint'), device: `${dev}`, inode: `${ino}` },
    profile: 'fast',
  });
  await personactl({ root, cwd }, ...words('app explain paint'));
  t.deepEqual(calls[1]?.params, { app: 'paint' });
});

test('no applications are said so on stderr', async (t) => {
  const { root } = await served(t);
  const { status, out, err } = await personactl({ root }, ...words('app list x'));
  t.deepEqual([status, out], [0, '']);
  t.regex(err, /No applications are known/);
});
