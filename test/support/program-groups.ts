import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { PARENT, treeMark } from '../../daemon/compose/fast-launches.ts';
import {
  createGroup,
  processesOf,
  readHierarchies,
  removeGroup,
} from '../../daemon/kernel/cgroups.ts';
import { freezableIn, freezeFilesOf, letGo } from '../../daemon/kernel/freezer.ts';
import type { Scope } from '../security/live-daemon.ts';
import { memoryHierarchy } from './memory-group.ts';

const restMs = 20;
/** Before the whole run is given up, which would leave everything behind. */
const limitMs = 60_000;

/** Ends a process that may be gone already. */
export function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Ends what runs in a group of a test, stopped or not, and removes it. */
async function removeTree(at: string): Promise<void> {
  if (!existsSync(at)) return;
  for (const entry of readdirSync(at, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(`${at}/${entry.name}`);
  for (const version of [1, 2] as const) letGo([freezeFilesOf(version, at)]);
  for (const endMs = performance.now() + limitMs; !removeGroup(at); await pause(restMs)) {
    if (performance.now() > endMs) throw new Error(`${at} is not empty within ${limitMs} ms`);
    for (const pid of processesOf(at)) endProcess(pid);
  }
}

/** A control group for what a daemon starts for users, and the setting that names it. It goes with its scope, and what runs in it. */
export function userSide(scope: Scope): string {
  const { at } = memoryHierarchy()!;
  const side = `persona-test-fast-${process.pid}-${process.hrtime.bigint()}`;
  scope.teardown(() => removeTree(`${at}/${side}`));
  createGroup(`${at}/${side}`);
  return `[partitions]\nuser = "${side}"\n`;
}

/** The groups by which applications of the state tree below `root` are stopped. */
export function fastGroups(root: string): string[] {
  const beside = `${freezableIn(readHierarchies())?.at}/${PARENT}`;
  if (!existsSync(beside)) return [];
  const mark = `-${treeMark(`${root}/state`)}`;
  return readdirSync(beside)
    .filter((name) => name.endsWith(mark))
    .map((name) => `${beside}/${name}`);
}

/** Those go with the scope as well, with what runs in them: a daemon that was killed leaves them for the next one. */
export function endFastGroups(scope: Scope, root: string): void {
  scope.teardown(async () => {
    for (const group of fastGroups(root)) await removeTree(group);
    // Other daemons of this machine may have theirs in it.
    removeGroup(`${freezableIn(readHierarchies())?.at}/${PARENT}`);
  });
}
