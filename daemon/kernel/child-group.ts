import { randomBytes } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  createGroup,
  knobsFor,
  moveProcess,
  processesOf,
  readHierarchies,
  readKnob,
  removeGroup,
  writeKnob,
} from './cgroups.ts';
import { failedWith } from './errno.ts';
import type { Child } from './exec.ts';
import { namesOf } from './files.ts';

/** The cgroup of one child process, in every hierarchy that is of use. */
export interface ChildGroup {
  /** Its groups; empty on a machine that lets us make none (the child then has only its rlimits). */
  readonly folders: readonly string[];
  add(pids: readonly number[]): Promise<void>;
  /** Ends every process in it at once, forks in progress included, where the kernel has cgroup.kill (5.14). */
  kill(): void;
  /** Kills what is left, and removes the group. */
  end(): Promise<void>;
}

/** All groups of children lie in this one, below the root: never inside a limited or measured group of others. */
const PARENT = 'personad-children';
/** Where they lie in the hierarchy of version 2 instead, when a group was delegated to the daemon. */
let delegatedParent: string | undefined;

/** Puts the groups of later children into this folder of the version 2 hierarchy. */
export function placeChildGroups(folder: string): void {
  delegatedParent = folder;
}

/** Another daemon (or test) may remove the empty parent between our two steps. */
const MAKE_TRIES = 10;
/** A killed process leaves its group within moments; a hung one must not hold up its change. */
const LEAVE_TRIES = 200;
const LEAVE_PAUSE_MS = 10;

interface Group {
  folder: string;
  parent: string;
  version: 1 | 2;
}

const REFUSALS = ['EROFS', 'EACCES', 'EPERM', 'EBUSY', 'EINVAL', 'EOPNOTSUPP'];

async function makeFolders(name: string): Promise<Group[]> {
  const found: Group[] = [];
  for (const { version, at, controllers } of readHierarchies()) {
    // Version 1: only the memory and pids hierarchies limit a child; of version 2 any is wanted, to kill.
    if (version === 1 && !controllers.some((one) => one === 'memory' || one === 'pids')) continue;
    const parent = (version === 2 ? delegatedParent : undefined) ?? `${at}/${PARENT}`;
    const group: Group = { parent, folder: `${parent}/${name}`, version };
    try {
      await makeFolder(group);
      found.push(group);
    } catch (error) {
      // A read-only or foreign hierarchy: said by the probe; rlimits and the pid namespace still hold.
      if (!failedWith(error, ...REFUSALS)) throw error;
    }
  }
  return found;
}

async function makeFolder({ parent, folder, version }: Group): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      createGroup(parent);
      if (version === 2) await offerControllers(parent);
      createGroup(folder);
      return;
    } catch (error) {
      if (!failedWith(error, 'ENOENT') || tries === MAKE_TRIES) throw error;
    }
  }
}

/** Our own parent passes on what the root group offers it; the root group itself is never written. */
async function offerControllers(parent: string): Promise<void> {
  const offered = readKnob(parent, 'cgroup.controllers')?.split(' ') ?? [];
  const on = readKnob(parent, 'cgroup.subtree_control')?.split(' ') ?? [];
  for (const one of ['memory', 'pids']) {
    if (offered.includes(one) && !on.includes(one)) {
      await writeKnob(parent, 'cgroup.subtree_control', `+${one}`);
    }
  }
}

async function limit(
  groups: Group[],
  limits: { memoryBytes: number; processes: number },
): Promise<void> {
  for (const { folder, version } of groups) {
    const knobs = knobsFor(version, {
      memoryMax: limits.memoryBytes,
      pidsMax: limits.processes + 8,
    });
    for (const [knob, value] of knobs) {
      if (readKnob(folder, knob) !== undefined) await writeKnob(folder, knob, value);
    }
  }
}

/** Makes a cgroup of its own for one child, limited where the controllers are there. */
export async function childGroup(
  name: string,
  limits: { memoryBytes: number; processes: number },
): Promise<ChildGroup> {
  const groups = await makeFolders(`${name}-${process.pid}-${randomBytes(4).toString('hex')}`);
  await limit(groups, limits);
  const folders = groups.map(({ folder }) => folder);
  const killable = groups.find(
    ({ folder, version }) => version === 2 && readKnob(folder, 'cgroup.type') !== undefined,
  )?.folder;
  const kill = (): void => {
    if (killable === undefined) return;
    writeKnob(killable, 'cgroup.kill', '1').catch(() => {});
  };
  return {
    folders,
    kill,
    async add(pids) {
      for (const folder of folders) {
        for (const pid of pids) {
          await moveProcess(folder, pid).catch((error) => {
            if (!failedWith(error, 'ESRCH')) throw error;
          });
        }
      }
    },
    async end() {
      kill();
      // At the same time: each waits for the same processes.
      await Promise.all(groups.map(({ folder }) => leave(folder)));
      for (const { parent } of groups) {
        sweep(parent);
        removeGroup(parent);
      }
    },
  };
}

/**
 * Which hierarchies hold the cgroups of children on this machine, found out by making one. Throws when none does:
 * children then have their rlimits and process namespace only.
 */
export async function whereChildGroups(): Promise<string> {
  const group = await childGroup('probe', { memoryBytes: 1 << 30, processes: 64 });
  await group.end();
  if (group.folders.length === 0) throw new Error('no hierarchy lets us make a group');
  return group.folders.map((folder) => dirname(dirname(folder))).join(', ');
}

/** A group is joined within moments of its making: an empty one this old belonged to a daemon that was killed. */
const STALE_MS = 60_000;

/** The daemon that made a group, by its name, has ended. */
function isOrphan(name: string): boolean {
  const pid = /-(\d+)-[0-9a-f]+$/.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/** Removes the empty groups of daemons that were killed. Returns those it removed. */
function sweep(parent: string): string[] {
  const swept: string[] = [];
  // Gone meanwhile: another daemon of this machine has taken its last group away.
  for (const name of namesOf(parent, 'folder')) {
    const folder = `${parent}/${name}`;
    try {
      const stale = isOrphan(name) || Date.now() - statSync(folder).mtimeMs > STALE_MS;
      // Not empty: the kernel refuses.
      if (stale && removeGroup(folder)) swept.push(folder);
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
    }
  }
  return swept;
}

/**
 * Removes the groups of children whose daemon was killed. Their processes have ended with it; a group that still has
 * some (one that hangs in the kernel) stays. Returns the groups it removed.
 */
export function removeOrphanGroups(): string[] {
  const swept: string[] = [];
  for (const { at } of readHierarchies()) {
    const parent = `${at}/${PARENT}`;
    if (!existsSync(parent)) continue;
    swept.push(...sweep(parent));
    removeGroup(parent);
  }
  return swept;
}

async function leave(folder: string): Promise<void> {
  for (let tries = 0; tries < LEAVE_TRIES; tries += 1) {
    if (removeGroup(folder)) return;
    for (const pid of processesOf(folder)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended meanwhile
      }
    }
    await pause(LEAVE_PAUSE_MS);
  }
}

/** The end of a child together with that of its group: settles as `child.done` does, after the group is gone. */
export function endTogether(
  child: Pick<Child, 'done' | 'exited'>,
  group: ChildGroup,
): Promise<void> {
  let hangs = true;
  const exited = child.exited.then(() => {
    hangs = false;
  });
  const done = (async () => {
    try {
      await child.done;
    } finally {
      await group.end();
      // Its group stays as long as it does.
      if (hangs) exited.then(() => group.end()).catch(() => {});
    }
  })();
  // Whoever does not await it learns of a failure by the end of the stream.
  done.catch(() => {});
  return done;
}

/** Puts a child into its group. One that cannot be there would run without its limits: it is ended, and why is thrown. */
export async function joinGroup(
  child: Child,
  group: ChildGroup,
  pids: readonly number[],
): Promise<void> {
  try {
    await group.add(pids);
  } catch (error) {
    child.kill();
    await endTogether(child, group).catch(() => {});
    throw error;
  }
}
