import { join } from 'node:path';
import test from 'ava';
import { startProgram } from '../../../daemon/kernel/exec.ts';
import { buildImage } from '../../../daemon/personas/image-children.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

/** Says what it met, and then waits for its end. */
const reports = `process.stderr.write('{"code":"bad-image","message":"it ends too early"}\\n', () => console.log());
setInterval(() => {}, 1000);`;

when(test, confinedNeeds)('that a child was killed counts, whatever it said last', async (t) => {
  const source = await startProgram({
    file: process.execPath,
    args: ['-e', reports],
    deadlineMs: 60_000,
  });
  source.stdout.once('data', () => process.kill(source.pid, 'SIGKILL'));
  const work = { signal: new AbortController().signal, space: { spareBytes: () => 2 ** 30 } };
  await t.throwsAsync(buildImage(source, join(temporaryFolder(t), 'image'), work), {
    code: 'tool-failed',
    message: /SIGKILL/,
  });
});
