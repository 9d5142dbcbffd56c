import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import {
  createGroup,
  type Hierarchy,
  processesOf,
  removeGroup,
} from '../../../daemon/kernel/cgroups.ts';
import { memoryHierarchy } from '../../support/memory-group.ts';

/** A group that stands for the side of all users; gone with the test, when what was in it has ended. */
export function sideGroup(
  t: ExecutionContext,
  name: string,
  hierarchy: Hierarchy = memoryHierarchy()!,
) {
  const side = `persona-test-${name}-${process.pid}`;
  const at = `${hierarchy.at}/${side}`;
  t.teardown(() => removeTree(at));
  createGroup(at);
  return { hierarchy, side, at };
}

async function removeTree(at: string): Promise<void> {
  if (!existsSync(at)) return;
  for (const entry of readdirSync(at, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(`${at}/${entry.name}`);
  // A process that was killed leaves its group within moments.
  await until(() => removeGroup(at));
}

/** Waits for what has to come; the deadline of the test ends it otherwise. */
export async function until<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await pause(10);
  }
}

/**
 * What `launch` starts through a launcher, in its group below the side. On a busy machine a launcher does not wait for the daemon, and what it
 * starts has no group: then it is ended, and launched again.
 */
export async function placed<C extends ChildProcess>(
  at: string,
  launch: () => C,
  end: (child: C) => Promise<void>,
): Promise<{ child: C; group: string }> {
  for (;;) {
    const child = launch();
    let said = '';
    child.stderr?.on('data', (piece) => {
      said += piece;
    });
    const found = await until(
      () =>
        leavesOf(at).find((leaf) => processesOf(leaf).includes(child.pid ?? 0)) ??
        (said.includes('no answer in time') && 'none'),
    );
    if (found !== 'none') return { child, group: found };
    await end(child);
  }
}

/** The groups of launches below a side. */
export const leavesOf = (at: string): string[] =>
  readdirSync(at, { withFileTypes: true })
    .filter((one) => one.isDirectory())
    .flatMap((user) =>
      readdirSync(`${at}/${user.name}`, { withFileTypes: true })
        .filter((one) => one.isDirectory())
        .map((leaf) => `${at}/${user.name}/${leaf.name}`),
    );
