import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createGroup, readHierarchies } from '../daemon/kernel/cgroups.ts';
import { managerRuns } from '../daemon/kernel/unit-properties.ts';
import { atMost, type Bar } from './bar.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { openGround } from './ground.ts';
import { removeAll } from './launch-groups.ts';
import { median } from './statistics.ts';

const names = {
  found: 'start without the daemon, until it is in a group of its own, slowest',
  idle: 'daemon idle, programs are looked for, processor',
};
/** A person's id that no account has. */
const uid = 63_001;
/** Some seconds after its start a daemon does once what waited for it (50 ms of processor time): that is no idling. */
const STARTED_MS = 10_000;
const SPACE_MS = 100;
/** What is not there by then was not found. */
const LOST_MS = 5_000;
/** Other processes, of which none is looked for. */
const CROWD = 500;

/** How soon programs are found that were started without the daemon, where systemd does not run, and what looking for them costs. */
export async function foundBars(quick: boolean): Promise<Bar[]> {
  const memory = readHierarchies().find(({ controllers }) => controllers.includes('memory'));
  const lacking = managerRuns() ? 'systemd runs here' : memory ? undefined : 'no memory controller';
  if (lacking !== undefined || memory === undefined)
    return [
      { ...atMost(names.found, Number.NaN, 'ms', null, 0), peer: { ours: lacking ?? '' } },
      { ...atMost(names.idle, Number.NaN, '%', null, 0), peer: { ours: lacking ?? '' } },
    ];
  const side = `personad-bench-found-${process.pid}`;
  const ground = await openGround(`[partitions]\nuser = "${side}"\n`);
  createGroup(`${memory.at}/${side}`);
  try {
    const program = `${ground.root}/machine/usr/bin/waits`;
    mkdirSync(dirname(program), { recursive: true, mode: 0o755 });
    copyFileSync('/bin/sleep', program);
    for (const path of [ground.root, program]) chmodSync(path, 0o755);
    const seconds = quick ? 10 : 30;
    await pause(STARTED_MS);
    const nothing = await idleShare(ground.daemon.pid!, seconds);
    await ground.reconnect();
    const set = { executables: ['/usr/bin/waits'], cpu: 'background' as const };
    await ground.client.call('app.set', { app: 'waits', everybody: true, set, wait: true });
    const found = await times(program, `/${side}/`, quick ? 15 : 40);
    const watching = await idleShare(ground.daemon.pid!, seconds);
    const crowd = Array.from({ length: CROWD }, () => spawn('/bin/sleep', ['600']));
    const crowded = await idleShare(ground.daemon.pid!, seconds).finally(() => crowd.map(end));
    return [
      atMost(names.found, Math.max(...found), 'ms', 200, found.length, { median: median(found) }),
      atMost(names.idle, watching, '%', 0.1, seconds, {
        'nothing to look for': nothing,
        [`among ${CROWD} more processes`]: crowded,
      }),
    ];
  } finally {
    await ground.stop();
    await removeAll(memory, side);
  }
}

const end = (child: ChildProcess) => child.kill('SIGKILL');

/** Percent of a processor that the daemon takes while nobody asks it for anything. */
async function idleShare(pid: number, seconds: number): Promise<number> {
  await pause(5_000);
  const before = cpuSeconds(pid);
  await pause(seconds * 1_000);
  return ((cpuSeconds(pid) - before) / seconds) * 100;
}

/** Milliseconds from the start of a program until it is in a group below `side`. */
async function times(program: string, side: string, rounds: number): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i <= rounds; i++) {
    await pause(SPACE_MS);
    const begun = performance.now();
    const child = spawn(program, ['600'], { uid, gid: uid });
    try {
      const isThere = () => readFileSync(`/proc/${child.pid}/cgroup`, 'latin1').includes(side);
      while (!isThere() && performance.now() - begun < LOST_MS) await pause(1);
      // The first one is not counted: until it is found the daemon may not have read yet what was stated.
      if (i > 0) found.push(isThere() ? performance.now() - begun : Number.POSITIVE_INFINITY);
    } finally {
      end(child);
    }
  }
  return found;
}
