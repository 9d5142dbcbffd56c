import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { type Hierarchy, removeGroup } from '../daemon/kernel/cgroups.ts';

const AGAIN_MS = 150;

/** The groups in a group. */
export const groupsBelow = (at: string): string[] =>
  readdirSync(at, { withFileTypes: true })
    .filter((one) => one.isDirectory())
    .map(({ name }) => `${at}/${name}`);

/** The groups of ended programs; the daemon may remove some of them at the same time. */
export async function removeAll({ at }: Hierarchy, side: string): Promise<void> {
  const below = (group: string): string[] => [...groupsBelow(group).flatMap(below), group];
  for (let left = 20; left > 0; left -= 1) {
    if (below(`${at}/${side}`).every(removeGroup)) return;
    await pause(AGAIN_MS);
  }
  throw new Error(`cannot remove the group ${side}`);
}
