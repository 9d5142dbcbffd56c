import { PersonaError } from '../../../ipc/errors.ts';
import { type Side, sides } from '../observation.ts';
import { checkShares, type Shares, settingsWith, usualShares } from '../shares.ts';
import {
  compare,
  comparedNames,
  type Model,
  type Row,
  type RunOptions,
  runNamed,
  seededScenario,
  settingsOf,
} from './comparison.ts';
import { type SwapOn, swaps } from './heat.ts';
import { likeness } from './recorded.ts';
import type { Scenario } from './scenario.ts';
import { type ReadTrace, readTrace } from './trace.ts';

/** What a replay may be asked for. */
export interface ReplayTask {
  /** A CSV file. Absent: scenarios from seeds. */
  trace?: string;
  /** The first of them, and how many. */
  seed?: number;
  seeds?: number;
  policies: readonly string[];
  model?: Model;
  /** Those that are to be others than usual. */
  shares?: Partial<Shares>;
  swapOn?: SwapOn;
  totalBytes?: number;
  hints?: boolean;
  /** Points of the plot. */
  points?: number;
}

/** Lines of the plot, over the first scenario: shares of the total, 0 to 1. */
export interface Plot {
  policy: string;
  seconds: number;
  used: Record<Side, number[]>;
  low: Record<Side, number[]>;
  high: Record<Side, number[]>;
  /** Greatest avoidable shortage between two points. */
  avoidable: number[];
}

export interface ReplayAnswer {
  scenario: string;
  model: Model;
  hours: number;
  totalBytes: number;
  rows: Row[];
  plots: Plot[];
  remarks: string[];
}

/** More would take minutes, and say no more. */
const SEEDS_MAX = 1000;
const POINTS_MAX = 400;

function names(asked: readonly string[]): readonly string[] {
  if (asked.length === 0 || asked.includes('all')) return comparedNames;
  const unknown = asked.find((name) => !comparedNames.includes(name));
  if (unknown === undefined) return asked;
  const reason = `it is not one of ${comparedNames.join(', ')}, all`;
  throw new PersonaError('bad-value', { name: '--policy', reason });
}

/** Throws `bad-value` for shares that do not go together. */
function optionsOf({ hints = false, shares, swapOn }: ReplayTask, model: Model): RunOptions {
  const wanted = { ...usualShares, ...shares };
  const over = Object.entries(wanted).find(([, value]) => !(value <= 100));
  if (over !== undefined)
    throw new PersonaError('bad-value', { name: `--${over[0]}`, reason: 'it is percent' });
  checkShares(wanted);
  if (swapOn !== undefined && !Object.hasOwn(swaps, swapOn))
    throw new PersonaError('bad-value', {
      name: '--swap-on',
      reason: `it is not one of ${Object.keys(swaps).join(', ')}`,
    });
  const settings = settingsOf(model, settingsWith(wanted));
  return { hints, settings, ...(swapOn && { swapOn }) };
}

/** What of a run is not as usual. */
function optionRemarks({ shares = {}, swapOn }: ReplayTask): string[] {
  const set = Object.entries(shares).map(([name, value]) => `${name} ${value} %`);
  return [
    ...(set.length > 0 ? [`the parts of both sides: ${set.join(', ')}`] : []),
    ...(swapOn === undefined ? [] : [`swap on ${swapOn}`]),
  ];
}

const cap = (value: number | 'max', total: number) =>
  Math.min(1, value === 'max' ? 1 : value / total);

/** How one policy shared the first scenario out. */
async function plot(
  policy: string,
  model: Model,
  scenario: Scenario,
  points: number,
  options: RunOptions,
): Promise<Plot> {
  const pair = () => ({ user: [] as number[], system: [] as number[] });
  const lines: Plot = {
    policy,
    seconds: scenario.seconds,
    used: pair(),
    low: pair(),
    high: pair(),
    avoidable: [],
  };
  const every = Math.max(1, Math.floor(scenario.seconds / points));
  let worst = 0;
  await runNamed(policy, model, scenario, {
    ...options,
    told(second, done, machine) {
      const { totalBytes } = scenario;
      worst = Math.max(worst, (done.user.avoidableBytes + done.system.avoidableBytes) / totalBytes);
      if (second % every !== 0 || lines.avoidable.length >= points) return;
      const now = machine.observe(second);
      for (const side of ['user', 'system'] as const) {
        lines.used[side].push(cap(now.sides[side]?.currentBytes ?? 0, totalBytes));
        lines.low[side].push(cap(machine.read(side, 'memory.low'), totalBytes));
        lines.high[side].push(cap(machine.read(side, 'memory.high'), totalBytes));
      }
      lines.avoidable.push(worst);
      worst = 0;
    },
  });
  return lines;
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`;

/** How far the simulator is from the machine that was recorded; nothing where that cannot be told. */
function likenessRemarks(
  model: Model,
  { scenario, recorded }: ReadTrace,
  swapOn: SwapOn | undefined,
): string[] {
  if (recorded === undefined) return [];
  const alike = likeness(model, scenario, recorded, swapOn);
  return sides.map((side) => {
    const { recorded: was, derived, heldOff } = alike[side];
    return `${side}: waited ${percent(was)} of the time when it was recorded, ${percent(derived)} on the simulator with nothing managed; what it held is off by ${percent(heldOff)} of the memory`;
  });
}

/** The comparison that was asked for. `readText` reads a trace file and holds its size against the limit. */
export async function replay(
  task: ReplayTask,
  readText: (path: string) => string,
): Promise<ReplayAnswer> {
  const asked = names(task.policies);
  const model = task.model ?? 'heat';
  const options = optionsOf(task, model);
  const [from, count] = [task.seed ?? 1, task.seeds ?? 1];
  if (!(count >= 1 && count <= SEEDS_MAX))
    throw new PersonaError('bad-value', { name: '--seeds', reason: `not 1 to ${SEEDS_MAX}` });
  const read =
    task.trace === undefined
      ? undefined
      : readTrace(task.trace, readText(task.trace), task.totalBytes);
  const first = read?.scenario ?? seededScenario(model, from);
  function* scenarios() {
    yield first;
    if (!read)
      for (let seed = from + 1; seed < from + count; seed++) yield seededScenario(model, seed);
  }
  const points = Math.min(POINTS_MAX, task.points ?? 0);
  const plots: Plot[] = [];
  if (points > 0)
    for (const name of asked) plots.push(await plot(name, model, first, points, options));
  return {
    scenario: read || count === 1 ? first.name : `desktop ${from} to ${from + count - 1}`,
    model,
    hours: first.seconds / 3600,
    totalBytes: first.totalBytes,
    rows: await compare(asked, model, scenarios(), options),
    plots,
    remarks: [
      ...(read?.remarks ?? []),
      ...optionRemarks(task),
      ...(read ? likenessRemarks(model, read, task.swapOn) : []),
    ],
  };
}
