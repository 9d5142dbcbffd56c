import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { temporaryFolder } from '../support/temp.ts';

const tool = join(import.meta.dirname, '../../ctl/main.ts');

/** The end to write to of a pipe that nobody reads any more. */
function brokenPipe(t: ExecutionContext): number {
  const fifo = join(temporaryFolder(t), 'pipe');
  execFileSync('mkfifo', [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(fifo, constants.O_WRONLY);
  closeSync(reader);
  t.teardown(() => closeSync(writer));
  return writer;
}

async function personactl(
  streams: [out: number | 'pipe', err: number | 'pipe'],
  ...words: string[]
) {
  const child = spawn(process.execPath, ['--no-warnings', tool, ...words], {
    stdio: ['ignore', ...streams],
    env: { ...process.env, PERSONA_ROOT: '/nonexistent' },
  });
  const exited = once(child, 'exit');
  const said = child.stderr === null ? '' : await text(child.stderr);
  const [status] = await exited;
  return { status, said };
}

test('nobody reads the remarks: the status is that of the work', async (t) => {
  const wanted = await personactl(['pipe', 'pipe'], 'swap', 'desk', 'build');
  t.is(wanted.status, 3);
  const { status } = await personactl(['pipe', brokenPipe(t)], 'swap', 'desk', 'build');
  t.is(status, 3);
});

test('nobody reads the output: no complaint', async (t) => {
  t.deepEqual(await personactl([brokenPipe(t), 'pipe'], 'help'), { status: 0, said: '' });
});

test('output that cannot be written is told', async (t) => {
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const { status, said } = await personactl([full, 'pipe'], 'help');
  t.is(status, 1);
  t.regex(said, /cannot write the output: ENOSPC/);
});
