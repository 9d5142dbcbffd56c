import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import type { Answer } from '../../ipc/methods/index.ts';
import { planBytesMax, planListMax } from '../../ipc/values.ts';
import { closeInherited } from './descriptors.ts';
import { envAbility } from './env-program.ts';

type LaunchPlan = Pick<Answer<'launch.plan'>, 'argv' | 'environment' | 'filter'>;
type Environment = Readonly<Record<string, string | undefined>>;

/** A program that can be executed: where it was found, and as the kernel knows it. */
export interface FoundProgram {
  path: string;
  executable: { path: string; device: string; inode: string };
}

/** What is there; undefined where nothing is, and in a folder that we may not enter. */
function statOf(path: string) {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Finds a program as a shell does. Answers why not: there is none, or none that can be executed. */
export function findProgram(
  command: string,
  env: Environment,
): FoundProgram | 'absent' | 'refused' {
  const folders = (env.PATH ?? '/usr/local/bin:/usr/bin:/bin').split(':');
  const places = command.includes('/')
    ? [command]
    : folders.map((folder) => `${folder === '' ? '.' : folder}/${command}`);
  let why: 'absent' | 'refused' = 'absent';
  for (const path of places) {
    const found = statOf(path);
    if (found === undefined) continue;
    why = 'refused';
    try {
      if (!found.isFile()) continue;
      accessSync(path, constants.X_OK);
      const { dev, ino } = found;
      return { path, executable: { path: realpathSync(path), device: `${dev}`, inode: `${ino}` } };
    } catch {
      // A program that we may not run: another one may come.
    }
  }
  return why;
}

/** Whether a plan is within the limits of the native launcher, which does the same. */
export function isFollowable(plan: LaunchPlan): boolean {
  const { argv, environment, filter } = plan;
  const { set, unset, keep = [] } = environment;
  const lists = [argv, unset, keep, Object.keys(set)];
  const text = JSON.stringify(plan);
  return (
    lists.every(({ length }) => length <= planListMax) &&
    Object.keys(set).every((name) => /^[^=]+$/.test(name)) &&
    (argv.length === 0 ? filter === undefined : argv[0]?.startsWith('/') === true) &&
    !text.includes('\\u0000') &&
    Buffer.byteLength(text) <= planBytesMax
  );
}

/** Opens the file of a plan as its descriptor 3: what Node opens does not outlast it. */
const withFilter = ['/bin/sh', '-c', 'exec 3<"$1"; shift; exec "$@"', '/bin/sh'];

/** Signals that Node ignores, and a program that it becomes would go on ignoring. */
const ignoredByNode = 'PIPE,XFSZ';

/** The words before the command: those of the plan, behind a program that gives signals their defaults back. */
function wordsBefore(plan: LaunchPlan, command: string): string[] {
  const words = plan.filter === undefined ? [] : [...withFilter, plan.filter];
  words.push(...plan.argv);
  if (envAbility() !== 'signals') return words;
  // A first word with "=" would be a variable to it.
  if (words.length === 0 && command.includes('='))
    words.push('/bin/sh', '-c', 'exec "$@"', '/bin/sh');
  return ['/usr/bin/env', `--default-signal=${ignoredByNode}`, ...words];
}

/** Becomes the command by a plan of the daemon: this process, its number, its terminal. Does not return. */
export function become(
  plan: LaunchPlan,
  found: FoundProgram,
  command: readonly string[],
  env: Environment,
): never {
  const { set, unset, keep } = plan.environment;
  const stays = (name: string) => !unset.includes(name) && (keep?.includes(name) ?? true);
  const kept = Object.entries(env).filter(([name]) => stays(name));
  if (plan.filter !== undefined) closeInherited();
  const before = wordsBefore(plan, command[0] ?? '');
  if (process.execve === undefined) throw new Error('this Node cannot become another program');
  return process.execve(before[0] ?? found.path, [...before, ...command], {
    ...Object.fromEntries(kept),
    ...set,
  });
}
