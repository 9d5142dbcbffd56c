import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { startWalker } from '../../../daemon/kernel/as-caller.ts';
import { ProgramFailed } from '../../../daemon/kernel/exec.ts';
import { hasFuse, mountHung } from '../../support/hung-mount.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

when(test, { root: true, tools: ['prlimit', 'mount'], other: hasFuse })(
  'a hung file system in a tree ends the walker at its deadline, and holds up nobody else',
  async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'tree/hung'), { recursive: true });
    writeFileSync(join(folder, 'tree/file'), 'x');
    const hung = mountHung(join(folder, 'tree/hung'));
    t.teardown(() => hung.release());
    const child = await startWalker({
      caller: { uid: 0, gid: 0, groups: [] },
      path: join(folder, 'tree'),
      deadlineMs: 3_000,
    });
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 1);
    for await (const _ of child.stdout);
    const error = await t.throwsAsync(child.done, { instanceOf: ProgramFailed });
    clearInterval(turning);
    t.true((error as ProgramFailed).ended.timedOut);
    t.true(turns > 10);
  },
);
