import { lacking } from '../test/support/needs.ts';
import { needsVm } from '../test/system/support/vm.ts';
import { atMost, type Bar } from './bar.ts';
import { type LiveGuest, liveGuest, type Manager, type Phase, type Work } from './live-guest.ts';

export const summary = 'Memory of one side beside stress-ng in the other, in a virtual machine';

const managers: readonly Manager[] = ['none', 'static', 'protective'];

/** Of 2 GiB, with one processor for each side: together more than there is, the user's side less than half. */
const work: Work = { ownMiB: 300, fileMiB: 300, pagesPerSecond: 2000, hogMiB: 1500 };

/** Figures of the user's side that are better when they are small, in a second. */
const costs: readonly [keyof Phase, string, string][] = [
  ['stallMs', 'waiting for memory (PSI some)', 'ms/s'],
  ['majorFaults', 'major faults', '/s'],
  ['refaults', 'refaults', '/s'],
];

type Measured = Readonly<Record<Manager, readonly Phase[]>>;

const mean = (phases: readonly Phase[], figure: keyof Phase): number =>
  phases.reduce((sum, one) => sum + one[figure], 0) / phases.length;

/** A figure with `protective`, beside the same with the others. */
function plain(measured: Measured, figure: keyof Phase, name: string, unit: string): Bar {
  const [none, fixed] = [mean(measured.none, figure), mean(measured.static, figure)];
  const { length } = measured.protective;
  const peer = { none, static: fixed };
  return atMost(name, mean(measured.protective, figure), unit, null, length, peer);
}

/** The figure with `protective` in relation to another manager; without a bar where that one had none. */
function ratio(measured: Measured, figure: keyof Phase, name: string, other: Manager): Bar[] {
  const theirs = mean(measured[other], figure);
  if (theirs === 0) return [];
  const against = other === 'none' ? 'no manager' : 'static limits';
  const value = mean(measured.protective, figure) / theirs;
  // Whoever is managed may not be worse off than if nobody were.
  const limit = other === 'none' ? 1 : null;
  return [atMost(`${name}, against ${against}`, value, 'x', limit, measured[other].length)];
}

function barsOf(measured: Measured, kernel: string): Bar[] {
  return [
    ...costs.flatMap(([figure, name, unit]) => [
      plain(measured, figure, `${name}, ${kernel}`, unit),
      ...ratio(measured, figure, `${name}, ${kernel}`, 'none'),
      ...ratio(measured, figure, `${name}, ${kernel}`, 'static'),
    ]),
    plain(measured, 'touched', `part of its touches that came in time, ${kernel}`, ''),
    plain(measured, 'hogStallMs', `the other side waiting for memory, ${kernel}`, 'ms/s'),
    plain(
      measured,
      'daemonPercent',
      `the daemon while it manages, emulated processor, ${kernel}`,
      '%',
    ),
  ];
}

/** All managers on the same work, in another order each round. */
async function measure(guest: LiveGuest, rounds: number, seconds: number): Promise<Measured> {
  const measured: Record<Manager, Phase[]> = { none: [], static: [], protective: [] };
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < managers.length; turn++) {
      const manager = managers[(turn + round) % managers.length]!;
      const phase = await guest.phase(manager, work, seconds);
      console.error(`round ${round + 1}, ${manager}:`, JSON.stringify(phase));
      measured[manager].push(phase);
    }
  return measured;
}

/** What the daemon costs while it manages and nothing is to be done, and how soon knobs go back when it is killed. */
async function daemonBars(guest: LiveGuest, quick: boolean): Promise<Bar[]> {
  const kills: number[] = [];
  for (let kill = 0; kill < (quick ? 1 : 3); kill++) kills.push(await guest.restoreMs());
  const name = 'knobs restored after SIGKILL, the slowest';
  const restored = atMost(name, Math.max(...kills), 'ms', 5000, kills.length);
  if (quick) return [restored];
  const seconds = 60;
  const idle = await guest.idlePercent(seconds);
  return [restored, atMost('daemon idle, managing, emulated processor', idle, '%', 0.1, seconds)];
}

/** On the kernel's lists of pages, then on its generations, which take little notice of protections; the first only when `quick`. */
export async function run({ quick }: { quick: boolean }): Promise<Bar[]> {
  const reason = lacking(needsVm);
  if (reason !== undefined) {
    console.error(`partitions-live is left out: ${reason}`);
    return [];
  }
  const [rounds, seconds] = quick ? [1, 15] : [3, 20];
  const guest = await liveGuest();
  const bars: Bar[] = [];
  try {
    for (const generations of quick ? [false] : [false, true]) {
      await guest.generations(generations);
      const kernel = generations ? 'pages by generations' : 'pages in lists';
      bars.push(...barsOf(await measure(guest, rounds, seconds), kernel));
    }
    bars.push(...(await daemonBars(guest, quick)));
  } finally {
    await guest.end();
  }
  return bars;
}
