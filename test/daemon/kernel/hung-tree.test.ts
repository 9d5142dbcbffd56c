import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { startWalker } from '../../../daemon/kernel/as-caller.ts';
import { ProgramFailed } from '../../../daemon/kernel/exec.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

/** A FUSE file system whose server never answers. */
function mountHung(at: string): { release(): void } {
  const device = openSync('/dev/fuse', 'r+');
  const options = 'fd=3,rootmode=40755,user_id=0,group_id=0,allow_other';
  const mounted = spawnSync(
    '/bin/mount',
    ['-i', '-t', 'fuse', '-o', options, 'personad-test', at],
    {
      stdio: ['ignore', 'pipe', 'pipe', device],
      encoding: 'utf8',
    },
  );
  if (mounted.status !== 0) {
    closeSync(device);
    throw new Error(mounted.stderr);
  }
  return {
    release() {
      // Closing the server's end fails every waiting request.
      closeSync(device);
      run('umount', '-l', at);
    },
  };
}

const hasFuse = (): string | undefined => {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return undefined;
  } catch {
    return 'needs /dev/fuse';
  }
};

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
