import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseCounters } from '../daemon/kernel/group-memory.ts';
import { parsePressure } from '../daemon/kernel/pressure.ts';
import { guestImage } from '../scripts/machine/guest-image.ts';
import { type Machine, makeMachine } from '../scripts/machine/machine.ts';
import { savedState } from '../scripts/machine/saved-machine.ts';
import { builtPackage } from '../test/support/package.ts';
import { answerOf, program, putPrograms } from '../test/system/support/guest-programs.ts';
import { secondsOf } from './cpu-seconds.ts';

const MiB = 2 ** 20;
/** Emulated, and the machine below may be busy. */
const slowMs = 240_000;
const askEveryMs = 500;
/** After this a daemon that was told to manage has nothing left to begin with. */
const settleMs = 10_000;
const groups = '/sys/fs/cgroup';
const disk = '/var/lib/persona';
const report = '/root/steady.json';

/** Who shares memory out while a phase lasts. */
export type Manager = 'none' | 'static' | 'protective';

/** What both sides do while one is looked at. */
export interface Work {
  /** The user's side: memory of its own and a file, both touched at random at a steady rate. */
  ownMiB: number;
  fileMiB: number;
  pagesPerSecond: number;
  /** The system's side: stress-ng writes to so much memory, over and over. */
  hogMiB: number;
}

/** What a phase cost each side, per second. */
export interface Phase {
  /** Time in which some task of the user's side waited for memory, in milliseconds. */
  stallMs: number;
  majorFaults: number;
  refaults: number;
  /** Part of its touches that came in time, 0 to 1. */
  touched: number;
  /** Time in which the hog waited for memory. */
  hogStallMs: number;
  /** What the daemon used of one processor, in percent. */
  daemonPercent: number;
}

/** A guest with the package of this tree and with swap on its NVMe disk. */
export interface LiveGuest {
  /** How the kernel finds pages to take away: by generations, or by its lists of before. */
  generations(on: boolean): Promise<void>;
  phase(manager: Manager, work: Work, seconds: number): Promise<Phase>;
  /** What the daemon uses of one processor while it manages and nothing runs, in percent. */
  idlePercent(seconds: number): Promise<number>;
  /** Kills the daemon while it manages: the milliseconds until every knob has its old value, as the guest sees it. */
  restoreMs(): Promise<number>;
  end(): Promise<void>;
}

async function until(vm: Machine, what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + slowMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${slowMs} ms: ${what}`);
    await pause(askEveryMs);
    if (!vm.up) throw new Error(`the machine is gone before: ${what}`);
  }
}

const numbers = async (vm: Machine, ...files: string[]): Promise<number[]> =>
  (await vm.must(`cd ${groups} && cat ${files.join(' ')}`)).trim().split('\n').map(Number);

const knobs = ['user', 'system'].flatMap((side) => [
  [`${side}.slice/memory.low`, '0'],
  [`${side}.slice/memory.high`, 'max'],
]);

/** Nothing runs, nothing is set, nothing is cached or in swap. */
async function clear(vm: Machine): Promise<void> {
  await vm.run('systemctl stop hog steady; systemctl reset-failed', { deadlineMs: slowMs });
  await vm.must('systemctl restart personad', { deadlineMs: slowMs });
  const files = knobs.map(([file]) => file).join(' ');
  const found = (await vm.must(`cd ${groups} && cat ${files}`)).trim().split('\n');
  if (found.some((value, at) => value !== knobs[at]?.[1]))
    throw new Error(`knobs are set: ${found.join(' ')}`);
  const swap = `swapoff -a && swapon ${disk}/swap`;
  await vm.must(
    `rm -f ${disk}/steady ${report}*; ${swap}; sync; echo 3 > /proc/sys/vm/drop_caches`,
    {
      deadlineMs: slowMs,
    },
  );
}

/** Hands the memory to a manager, and waits until that shows. */
async function hand(vm: Machine, manager: Manager): Promise<void> {
  if (manager === 'none') return;
  await vm.must(`personactl partitions policy ${manager} --mode manage`, { deadlineMs: slowMs });
  const files = ['user.slice/memory.low', 'system.slice/memory.low'];
  await until(vm, 'both sides are protected', async () =>
    (await numbers(vm, ...files)).every((bytes) => bytes > 0),
  );
}

async function startSteady(vm: Machine, { ownMiB, fileMiB, pagesPerSecond }: Work): Promise<void> {
  const words = [...program('steady'), ownMiB, fileMiB, pagesPerSecond, `${disk}/steady`, report];
  const unit = '--unit=steady --slice=user.slice --property=CPUAffinity=0';
  await vm.must(`systemd-run --quiet ${unit} ${words.join(' ')}`);
  await until(vm, 'the working set is there', async () => {
    return (await vm.run(`test -e ${report}.begun`)).status === 0;
  });
}

async function startHog(vm: Machine, { hogMiB }: Work): Promise<void> {
  const words = `stress-ng --vm 1 --vm-bytes ${hogMiB}M --vm-keep --vm-method write64 --timeout 0`;
  const unit = '--unit=hog --slice=system.slice --property=CPUAffinity=1';
  await vm.must(`systemd-run --quiet ${unit} ${words} --temp-path ${disk}`);
  const files = ['current', 'swap.current'].map((one) => `system.slice/hog.service/memory.${one}`);
  await until(vm, 'the hog has what it asks for', async () => {
    const [held = 0, swapped = 0] = await numbers(vm, ...files);
    return held + swapped >= hogMiB * MiB;
  });
}

interface Counters {
  seconds: number;
  stallMs: number;
  hogStallMs: number;
  majorFaults: number;
  refaults: number;
  daemonSeconds: number;
}

const mainPid = 'systemctl show -P MainPID personad.service';

async function countersOf(vm: Machine): Promise<Counters> {
  const files = ['user.slice/memory.pressure', 'system.slice/memory.pressure'];
  const all = `cd ${groups} && for file in ${files.join(' ')} user.slice/memory.stat /proc/uptime; do cat $file; echo; done; cat /proc/$(${mainPid})/task/*/schedstat`;
  const [user = '', system = '', stat = '', uptime = '', threads = ''] = (await vm.must(all)).split(
    '\n\n',
  );
  const stalled = (text: string) => (parsePressure(text)?.some.totalUs ?? Number.NaN) / 1000;
  const counters = parseCounters(stat);
  const get = (name: string) => counters.get(name) ?? 0;
  return {
    seconds: Number(uptime.split(' ')[0]),
    stallMs: stalled(user),
    hogStallMs: stalled(system),
    majorFaults: get('pgmajfault'),
    refaults: get('workingset_refault_anon') + get('workingset_refault_file'),
    daemonSeconds: secondsOf(threads.trim().split('\n')),
  };
}

async function phase(vm: Machine, manager: Manager, work: Work, seconds: number): Promise<Phase> {
  await clear(vm);
  await hand(vm, manager);
  await startSteady(vm, work);
  await startHog(vm, work);
  const before = await countersOf(vm);
  await pause(seconds * 1000);
  const after = await countersOf(vm);
  await vm.must('systemctl stop steady', { deadlineMs: slowMs });
  const { touched, wanted } = JSON.parse(await vm.must(`cat ${report}`));
  const rate = rateOf(before, after);
  return {
    stallMs: rate('stallMs'),
    majorFaults: rate('majorFaults'),
    refaults: rate('refaults'),
    touched: touched / wanted,
    hogStallMs: rate('hogStallMs'),
    daemonPercent: rate('daemonSeconds') * 100,
  };
}

/** How much more of a counter there was, per second. */
const rateOf = (before: Counters, after: Counters) => (name: keyof Counters) =>
  (after[name] - before[name]) / (after.seconds - before.seconds);

async function idlePercent(vm: Machine, seconds: number): Promise<number> {
  await clear(vm);
  await hand(vm, 'protective');
  await pause(settleMs);
  const before = await countersOf(vm);
  await pause(seconds * 1000);
  return rateOf(before, await countersOf(vm))('daemonSeconds') * 100;
}

async function restoreMs(vm: Machine): Promise<number> {
  await clear(vm);
  await hand(vm, 'protective');
  const files = knobs.map(([file, value]) => `${groups}/${file}=${value}`);
  const pid = (await vm.must(mainPid)).trim();
  return await answerOf<number>(vm, [...program('killed'), pid, ...files], { deadlineMs: slowMs });
}

/** Starts the guest; it is gone after `end`. */
export async function liveGuest(): Promise<LiveGuest> {
  const image = await guestImage('trixie', await builtPackage(), console.error);
  const saved = await savedState(image, console.error);
  // Not the temporary folder: it may be in memory.
  const folder = mkdtempSync('/var/tmp/personad-live-');
  const vm = await makeMachine(join(folder, 'machine'), { image, saved, disk: '8G' });
  const end = async () => {
    await vm.cut();
    await vm.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await vm.boot();
    await putPrograms(vm, 'steady', 'killed');
    const swap = `${disk}/swap`;
    await vm.must(
      `fallocate -l 2G ${swap} && chmod 600 ${swap} && mkswap -q ${swap} && swapon ${swap}`,
    );
    // Without a process the side's group would come and go.
    await vm.must('systemd-run --quiet --slice=user.slice --unit=desktop sleep infinity');
  } catch (error) {
    await end();
    throw error;
  }
  return {
    async generations(on) {
      await vm.must(`echo ${on ? 'y' : 'n'} > /sys/kernel/mm/lru_gen/enabled`);
    },
    phase: (manager, work, seconds) => phase(vm, manager, work, seconds),
    idlePercent: (seconds) => idlePercent(vm, seconds),
    restoreMs: () => restoreMs(vm),
    end,
  };
}
