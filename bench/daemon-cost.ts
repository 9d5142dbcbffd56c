import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { startEcho } from './echo.ts';
import type { Ground } from './ground.ts';
import { compileFloor, floorFigures, timed } from './programs.ts';
import { median } from './statistics.ts';

/** What the daemon costs: a call, the start of the tool, doing nothing. */
export async function measureDaemon(ground: Ground, quick: boolean): Promise<Bar[]> {
  return [
    await roundTrip(ground, quick ? 400 : 1500),
    ...(await callCost(ground, quick ? 8_000 : 30_000)),
    await toolStart(ground, quick ? 10 : 30),
    ...(await idle(ground, quick ? 10 : 30)),
  ];
}

/** Keeps the main thread of a process on one processor, or lets it use all again. */
function stayOn(pid: number, processors: string): void {
  execFileSync('taskset', ['-p', '-c', processors, String(pid)], { stdio: 'ignore' });
}

/**
 * A call and its answer, beside a byte and its answer between two C processes: both pairs on two processors, where
 * waking one that is idle is most of it, and both pairs on one.
 */
async function roundTrip(ground: Ground, rounds: number): Promise<Bar> {
  const last = availableParallelism() - 1;
  const pairs: [string, string][] = [
    ['0', String(last)],
    ['0', '0'],
  ];
  const [ours, floor]: [number[], number[]] = [[], []];
  const program = compileFloor('ping-pong', `${ground.root}/ping-pong`);
  for (const [mine, theirs] of pairs) {
    stayOn(process.pid, mine);
    stayOn(ground.daemon.pid!, theirs);
    ours.push(median(await pings(ground, rounds)));
    if (program !== undefined) {
      floor.push(median(await floorFigures(program, [String(rounds), mine, theirs])));
    }
  }
  for (const pid of [process.pid, ground.daemon.pid!]) stayOn(pid, `0-${last}`);
  const limit = floor.length === 0 ? null : 2.5;
  const ratio = ours[0]! / (floor[0] ?? Number.NaN);
  const missing = 'gcc is not installed';
  return atMost('socket round trip against C, calls 2 ms apart', ratio, 'x', limit, rounds, {
    'ours (us)': ours[0]!,
    'C (us)': floor[0] ?? missing,
    'ours on one processor (us)': ours[1]!,
    'C on one processor (us)': floor[1] ?? missing,
  });
}

/**
 * What a call costs the processor, one call after the other: with each end on a processor of its own, which the other wakes each time (in a
 * virtual machine that is the larger part), and with both on one, where that is not in it. The limit stands for both.
 */
async function callCost(ground: Ground, calls: number): Promise<Bar[]> {
  const last = String(availableParallelism() - 1);
  const echo = await startEcho(`${ground.root}/echo.sock`);
  const ping = () => ground.client.call('daemon.ping', {});
  const measured = async (pid: number, call: () => Promise<unknown>, processor: string) => {
    stayOn(pid, processor);
    const before = cpuSeconds(pid);
    for (let i = 0; i < calls; i++) await call();
    return ((cpuSeconds(pid) - before) * 1e6) / calls;
  };
  try {
    stayOn(process.pid, '0');
    const daemon = ground.daemon.pid!;
    const [apart, echoApart] = [
      await measured(daemon, ping, last),
      await measured(echo.pid, echo.call, last),
    ];
    const [ours, bare] = [
      await measured(daemon, ping, '0'),
      await measured(echo.pid, echo.call, '0'),
    ];
    const name = 'socket round trip, processor time of the daemon';
    const beside = (us: number) => ({ 'a bare echo server (us)': us });
    return [
      atMost(`${name}, two processors`, apart, 'us', 25, calls, beside(echoApart)),
      atMost(`${name}, both ends on one`, ours, 'us', 25, calls, beside(bare)),
    ];
  } finally {
    echo.stop();
    for (const pid of [process.pid, ground.daemon.pid!]) stayOn(pid, `0-${last}`);
  }
}

/** Microseconds of `rounds` calls that do nothing, 2 ms apart. */
async function pings(ground: Ground, rounds: number): Promise<number[]> {
  const walls: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    await ground.client.call('daemon.ping', {});
    walls.push((performance.now() - start) * 1000);
    await pause(2);
  }
  return walls;
}

async function toolStart(ground: Ground, rounds: number): Promise<Bar> {
  process.env.PERSONA_ROOT = ground.root;
  const tool = `${import.meta.dirname}/../dist/personactl.cjs`;
  const [ours, bare]: [number[], number[]] = [[], []];
  for (let i = 0; i < rounds; i++) {
    bare.push(await timed(process.execPath, ['-e', '0']));
    ours.push(await timed(process.execPath, [tool, 'status']));
  }
  const ratio = median(ours) / median(bare);
  return atMost('personactl status against node -e 0', ratio, 'x', 1.4, rounds, {
    'ours (ms)': median(ours),
    'node (ms)': median(bare),
  });
}

async function idle(ground: Ground, seconds: number): Promise<Bar[]> {
  const pid = ground.daemon.pid!;
  await pause(5000);
  const before = cpuSeconds(pid);
  await pause(seconds * 1000);
  const share = ((cpuSeconds(pid) - before) / seconds) * 100;
  const rss =
    Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000;
  return [
    atMost('daemon idle, processor', share, '%', 0.1, seconds),
    atMost('daemon idle, resident memory after all of the above', rss, 'MB', 90, 1),
  ];
}
