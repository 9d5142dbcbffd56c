import { readFileSync } from 'node:fs';
import {
  createGroup,
  groupIn,
  moveProcess,
  readHierarchies,
  readKnob,
  writeKnob,
} from './cgroups.ts';
import { placeChildGroups } from './child-group.ts';
import { readXattrs } from './xattrs.ts';

/** systemd marks a group that it leaves to the service (Delegate=yes) with these. */
const MARKS = ['trusted.delegate', 'user.delegate'];
/** The daemon's own leaf: a group with controllers for others holds no process itself. */
const OWN = 'daemon';
const CHILDREN = 'children';

/** The group of a text like /proc/PID/cgroup in the hierarchy of version 2, or undefined. Pure. */
export function unifiedGroup(text: string): string | undefined {
  return groupIn(text, { version: 2, at: '', controllers: [] });
}

function delegated(): string | undefined {
  const path = unifiedGroup(readFileSync('/proc/self/cgroup', 'utf8'));
  const at = readHierarchies().find(({ version }) => version === 2)?.at;
  if (path === undefined || at === undefined) return undefined;
  const folder = `${at}${path}`;
  const marked = readXattrs(folder).some(([name, value]) => MARKS.includes(name) && value === '1');
  return marked ? folder : undefined;
}

/**
 * Uses the group that systemd has handed to this service: the daemon moves into a leaf of it, and its children get theirs
 * beside that. Whatever becomes of the daemon, systemd then ends them with the service and removes their groups. Returns the
 * service's group; undefined when this process has none of its own, and children stay below the root.
 */
export async function useDelegatedGroup(): Promise<string | undefined> {
  const folder = delegated();
  if (folder === undefined) return undefined;
  createGroup(`${folder}/${OWN}`);
  await moveProcess(`${folder}/${OWN}`, process.pid);
  const offered = readKnob(folder, 'cgroup.controllers')?.split(' ') ?? [];
  for (const one of ['memory', 'pids'])
    if (offered.includes(one)) await writeKnob(folder, 'cgroup.subtree_control', `+${one}`);
  placeChildGroups(`${folder}/${CHILDREN}`);
  return folder;
}
