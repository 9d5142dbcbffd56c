import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import type { Ground } from './ground.ts';
import { compileFloor, floorFigures, timed } from './programs.ts';
import { median } from './statistics.ts';

/** Ticks of /proc/PID/stat in a second: fixed by the kernel's interface on Linux. */
const TICKS = 100;

/** What the daemon costs: a call, the start of the tool, doing nothing. */
export async function measureDaemon(ground: Ground, quick: boolean): Promise<Bar[]> {
  return [
    ...(await roundTrip(ground, quick ? 400 : 1500)),
    await toolStart(ground, quick ? 10 : 30),
    ...(await idle(ground, quick ? 10 : 30)),
  ];
}

/** Processor seconds that a process has used. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function roundTrip(ground: Ground, rounds: number): Promise<Bar[]> {
  const walls: number[] = [];
  const program = compileFloor('ping-pong', `${ground.root}/ping-pong`);
  const floor =
    program === undefined ? undefined : median(await floorFigures(program, [String(rounds)]));
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    await ground.client.call('daemon.ping', {});
    walls.push((performance.now() - start) * 1000);
    await pause(2);
  }
  const calls = rounds * 20;
  const before = cpuSeconds(ground.daemon.pid!);
  for (let i = 0; i < calls; i++) await ground.client.call('daemon.ping', {});
  const cpu = ((cpuSeconds(ground.daemon.pid!) - before) * 1e6) / calls;
  const wall = median(walls);
  const ratio = floor === undefined ? Number.NaN : wall / floor;
  return [
    atMost('socket round trip, processor time of the daemon', cpu, 'us', 25, calls),
    atMost(
      'socket round trip against C, calls 2 ms apart',
      ratio,
      'x',
      floor === undefined ? null : 2.5,
      rounds,
      {
        'ours (us)': wall,
        'C (us)': floor ?? 'gcc is not installed',
      },
    ),
  ];
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
