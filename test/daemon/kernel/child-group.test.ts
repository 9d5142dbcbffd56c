import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { callerLimits, startLimited } from '../../../daemon/kernel/as-caller.ts';
import { readHierarchies } from '../../../daemon/kernel/cgroups.ts';
import { placeChildGroups } from '../../../daemon/kernel/child-group.ts';
import { startConfined } from '../../../daemon/kernel/confined.ts';
import { ProgramFailed } from '../../../daemon/kernel/exec.ts';
import { namesOf } from '../../../daemon/kernel/files.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

// What is left of a child that cannot be started, or not with its limits.

const deadlineMs = 2 ** 31 - 1;
const name = `test-${process.pid}`;
const limited = (argv: readonly string[]) =>
  startLimited(argv, { deadlineMs, limits: callerLimits, name, input: false });
const tools = ['prlimit', 'bwrap', 'setpriv'];
/** Longer than the kernel takes a word (MAX_ARG_STRLEN). */
const tooLong = 'x'.repeat(200_000);

/** Groups of children that this process has made. */
const groupsOfOurs = (): string[] =>
  readHierarchies()
    .flatMap(({ at }) => namesOf(`${at}/personad-children`, 'folder'))
    .filter((group) => group.includes(`-${process.pid}-`));

/** Processes with this word in their command line. */
const processesWith = (word: string): string[] =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(word);
      } catch {
        return false; // it has ended
      }
    });

when(test, { root: true, tools })('a child that cannot be started says why', async (t) => {
  for (const start of [
    () => limited([tooLong]),
    () => startConfined({ argv: [tooLong], shown: [], deadlineMs }),
  ])
    await t.throwsAsync(start(), { instanceOf: ProgramFailed, message: /E2BIG/ });
  t.deepEqual(groupsOfOurs(), []);
});

const unified = () =>
  readHierarchies().some(({ version }) => version === 2)
    ? undefined
    : 'cgroup version 2 is not mounted';

// The last one: groups of later children lie there, too.
when(test, { root: true, tools, other: unified })(
  'a child that cannot be put into its group is ended',
  async (t) => {
    // No group of the kernel's: a process cannot be put into it.
    const folder = `${temporaryFolder(t)}/groups`;
    mkdirSync(folder);
    placeChildGroups(folder);
    const word = `987654.${process.pid}`;
    for (const start of [
      () => limited(['/usr/bin/sleep', word]),
      () => startConfined({ argv: ['/usr/bin/sleep', word], shown: [], deadlineMs }),
    ]) {
      await t.throwsAsync(start(), { message: /cgroup\.procs/ });
      t.deepEqual(processesWith(word), []);
    }
    t.deepEqual(groupsOfOurs(), []);
    t.deepEqual(namesOf(folder, 'folder'), []);
  },
);
