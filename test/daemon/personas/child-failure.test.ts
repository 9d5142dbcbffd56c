import { join } from 'node:path';
import test from 'ava';
import { startProgram } from '../../../daemon/kernel/exec.ts';
import { buildImage } from '../../../daemon/personas/image-children.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

/** Says what it met, and then waits for its end. */
const reports = `process.stderr.write('{"code":"bad-image","message":"it ends too early"}\\n', () => console.log());
setInterval(() => {}, 1000);`;

const whenRoot = when(test, confinedNeeds);

const reporting = (deadlineMs: number) =>
  startProgram({ file: process.execPath, args: ['-e', reports], deadlineMs });

const work = () => ({
  signal: new AbortController().signal,
  space: { spareBytes: () => 2 ** 30 },
});

whenRoot('that a child was killed counts, whatever it said last', async (t) => {
  const source = await reporting(60_000);
  source.stdout.once('data', () => process.kill(source.pid, 'SIGKILL'));
  await t.throwsAsync(buildImage(source, join(temporaryFolder(t), 'image'), work()), {
    code: 'tool-failed',
    message: /SIGKILL/,
  });
});

whenRoot('so does that a child passed its deadline', async (t) => {
  const source = await reporting(1_000);
  await t.throwsAsync(buildImage(source, join(temporaryFolder(t), 'image'), work()), {
    code: 'timed-out',
  });
});
