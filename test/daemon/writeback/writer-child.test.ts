import test from 'ava';
import { ProgramFailed, startProgram } from '../../../daemon/kernel/exec.ts';
import { fileChannel } from '../../../daemon/kernel/passed-files.ts';
import { WriterChild, WriterFailed } from '../../../daemon/writeback/writer-child.ts';

const deadline = 60_000;

/** What a user makes of his writer, and what it has said before that is told. */
const babble: [what: string, script: string][] = [
  ['empty lines without end', 'exec yes ""'],
  ['a line without end', 'exec cat /dev/zero'],
  ['an answer to nothing', 'echo "{}"; exec cat'],
];

for (const [what, script] of babble)
  test(`a writer that says ${what} is ended`, async (t) => {
    const [channel, end] = fileChannel();
    const program = { file: '/bin/sh', args: ['-c', script], deadlineMs: deadline };
    const child = await startProgram(program, { input: true, fds: [end.number] });
    end.close();
    t.teardown(() => child.kill());
    const writer = new WriterChild(child, channel);
    const failed = await t.throwsAsync(child.done, { instanceOf: ProgramFailed });
    t.like(failed?.ended, { signal: 'SIGKILL', timedOut: false });
    t.true(writer.hasEnded);
    const asked = writer.ask({ do: 'measure' }, 'measured', deadline);
    await t.throwsAsync(asked, { instanceOf: WriterFailed });
  });
