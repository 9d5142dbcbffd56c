import { setTimeout as pause } from 'node:timers/promises';
import { atMost, type Bar } from './bar.ts';
import { installed, startFloor } from './programs.ts';
import { median } from './statistics.ts';

/** What is started, and ends at once. */
export const PROGRAM = '/bin/true';
/** A program that is still there when it is moved: what counts is when it begins. */
export const LASTING = ['/bin/sh', '-c', 'echo begun; sleep 0.05'];

/** Moves into a control group in quick succession are cheaper than any that is really made. */
const SPACE_MS = 150;
/** Words that start the program in some way; the first is looked for on the machine. */
type Ways = Record<string, readonly string[]>;

/** Milliseconds of each way, started by the words of `floor`, round by round, with space between; or the reason why it is left out. */
export async function startTimes(
  floor: readonly string[],
  ways: Ways,
  rounds: number,
): Promise<Record<string, number | string>> {
  const found: Record<string, number | string> = {};
  const starts: Record<string, ReturnType<typeof startFloor>> = {};
  for (const [name, words] of Object.entries(ways)) {
    const [tool = ''] = words;
    if (!tool.includes('/') && !installed(tool)) found[name] = `${tool} is not installed`;
    else starts[name] = startFloor(floor[0] ?? '', [...floor.slice(1), ...words]);
  }
  const samples: Record<string, number[]> = {};
  // The first round is not counted: it reads what the others find in memory.
  for (let i = 0; i <= rounds; i++) {
    for (const [name, start] of Object.entries(starts)) {
      await pause(SPACE_MS);
      try {
        const us = await start.next();
        if (i > 0) samples[name] = [...(samples[name] ?? []), us / 1000];
      } catch {
        delete starts[name];
        found[name] = 'does not run here';
      }
    }
  }
  for (const start of Object.values(starts)) start.stop();
  for (const [name, values] of Object.entries(samples))
    if (starts[name]) found[name] = median(values);
  return found;
}

/** What a way costs over plain exec, and what others cost. */
export function overPlain(
  bar: string,
  ours: string,
  limit: number,
  rounds: number,
  times: Record<string, number | string>,
): Bar {
  const { plain, [ours]: own, ...others } = times;
  if (typeof own !== 'number' || typeof plain !== 'number')
    throw new Error(`cannot measure ${ours}: ${own}`);
  const costs = Object.entries(others).map(([name, ms]) => [
    name,
    typeof ms === 'number' ? ms - plain : ms,
  ]);
  return atMost(bar, own - plain, 'ms', limit, rounds, {
    ...(Object.fromEntries(costs) as Bar['peer']),
    'plain exec itself': plain,
  });
}

/** What others keep programs apart with. */
export const apartByBwrap = [
  ...['/usr/bin/bwrap', '--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev'],
];

/** A bar that cannot be measured here, and why. */
export const unmeasured = (bar: string, reason: string): Bar => ({
  ...atMost(bar, Number.NaN, 'ms', null, 0),
  peer: { ours: reason },
});
