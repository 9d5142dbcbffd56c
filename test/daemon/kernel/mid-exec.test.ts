import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { killGroup } from '../../../daemon/kernel/end-group.ts';
import { mappedPrograms } from '../../../daemon/kernel/mapped-programs.ts';
import { hangsInExec } from '../../../daemon/kernel/mid-exec.ts';
import { mountedFor } from '../../../daemon/kernel/mounted-for.ts';
import { isStill } from '../../../daemon/kernel/placed-process.ts';
import { sharesProcessIds } from '../../../daemon/kernel/process-ids.ts';
import { ProcessNotes } from '../../../daemon/kernel/process-notes.ts';
import { readWalls } from '../../../daemon/kernel/process-walls.ts';
import {
  openProcess,
  processStat,
  statOf,
  UNTOLD,
  whoIsInside,
} from '../../../daemon/kernel/processes.ts';
import { runningProgram } from '../../../daemon/kernel/running-program.ts';
import { sharedMappings } from '../../../daemon/kernel/shared-maps.ts';
import { countSyncs } from '../../../daemon/kernel/sync-count.ts';
import { hasFuse } from '../../support/hung-mount.ts';
import { partner } from '../../support/mount-scratch.ts';
import { run, when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

// A real process hangs on its way to another program, which any user can have it do. Whoever looks at it would hang with it: were that this
// process, nothing here would end.

/** Of no file system: nobody is found inside by mistake. */
const device = '0:999999';
const nobody = 65_534;
const server = join(import.meta.dirname, '../../support/hung-exec.ts');
/** Files that perl opens are not passed on. */
const program = `$| = 1; print "begun\\n"; <STDIN>; open my $file, '<', shift or die $!; exec 'cat';`;

/** A process of nobody's that has not begun to hang yet, and what has it begin and end. */
async function hanging(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  chmodSync(folder, 0o755);
  const place = join(folder, 'hung');
  mkdirSync(place);
  t.teardown(() => run('umount', '-l', place));
  const files = partner(t, process.execPath, '--no-warnings', server, place);
  t.is(await files.line(), 'ready');
  const user = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
  const child = partner(t, 'setpriv', ...user, 'perl', '-e', program, `${place}/file`);
  t.is(await child.line(), 'begun');
  return {
    pid: child.process.pid!,
    process: child.process,
    hang: async () => {
      child.say('on');
      t.is(await files.line(), 'hangs');
    },
    goOn: files.end,
    say: child.say,
    line: child.line,
  };
}

const rooted = when(test, { root: true, tools: ['perl', 'setpriv', 'umount'], other: hasFuse });

rooted('nobody who looks at a process that hangs in an exec hangs with it', async (t) => {
  const { pid, hang, goOn, say, line } = await hanging(t);
  t.false(hangsInExec(pid));
  const known = processStat(pid)!;
  t.like(known, { pid, uid: nobody, name: 'perl' });
  const notes = new ProcessNotes(join(temporaryFolder(t), 'notes'));
  notes.write(known, { of: 'perl' });
  await hang();

  t.true(hangsInExec(pid));
  t.is(processStat(pid), undefined, 'when it began cannot be told');
  t.is(runningProgram(pid), undefined);
  t.is(await readWalls(pid), undefined);
  t.false(sharesProcessIds(pid));
  t.deepEqual(await mappedPrograms('/', [pid]), []);
  t.deepEqual(await sharedMappings([pid], device), new Set());
  t.is(await countSyncs(() => [pid], 10), undefined);

  // It has not ended, and what is known of it holds; nobody ends it by a number that is not proven.
  t.like(statOf(known), { startTime: known.startTime, uid: nobody });
  t.true(isStill(known));
  t.false(isStill({ ...known, uid: 0 }));
  t.deepEqual(notes.read()[0]?.note, { of: 'perl' });
  t.is(openProcess(known), undefined);

  for (const look of ['programs', 'all'] as const) {
    const found = (await whoIsInside(new Set([device]), look)).find((one) => one.pid === pid);
    t.like(found, { uid: nobody, by: 'map' }, 'it may be inside');
    t.is(found?.device, undefined);
  }
  const mounted = async (owner: number) => (await mountedFor(device, owner)).map((one) => one.pid);
  t.true((await mounted(nobody)).includes(pid));
  t.false((await mounted(0)).includes(pid), 'nobody else is held up by it');

  await goOn();
  say('it goes on');
  t.is(await line(), 'it goes on');
  t.like(processStat(pid), { startTime: known.startTime, name: 'cat' });
  t.like(statOf({ pid, startTime: UNTOLD }), { startTime: known.startTime }, 'it can be told now');
  t.false((await whoIsInside(new Set([device]))).some((one) => one.pid === pid));
});

rooted('who hangs in an exec is ended with its group, and becomes nothing any more', async (t) => {
  const { pid, process: child, hang, goOn } = await hanging(t);
  // As a group of version 1 names its processes, which are ended one by one.
  const group = temporaryFolder(t);
  writeFileSync(join(group, 'cgroup.procs'), `${pid}\n`);
  await hang();
  await killGroup(group);
  const ended = once(child, 'exit');
  await goOn();
  t.deepEqual(await ended, [null, 'SIGKILL']);
});
