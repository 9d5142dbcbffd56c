import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { partitionName } from '../../daemon/compose/fast-launches.ts';
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

/**
 * A control group for what a daemon starts for users, and the setting that names it. It goes with its scope, and what runs in it; so do
 * the groups by which `apps` of the user `uid` are stopped, which a daemon that was killed leaves for the next one.
 */
export function userSide(scope: Scope, uid: number, apps: readonly string[]): string {
  const { at } = memoryHierarchy()!;
  const side = `persona-test-fast-${process.pid}-${process.hrtime.bigint()}`;
  const beside = `${freezableIn(readHierarchies())?.at}/personad-fast`;
  scope.teardown(async () => {
    await removeTree(`${at}/${side}`);
    for (const app of apps) await removeTree(`${beside}/${partitionName(app, uid)}`);
    // Other daemons of this machine may have theirs in it.
    removeGroup(beside);
  });
  createGroup(`${at}/${side}`);
  return `[partitions]\nuser = "${side}"\n`;
}
