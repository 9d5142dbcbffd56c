import { donorSlack } from '../policies/donor-slack.ts';
import { policies, references } from '../policies/index.ts';
import { lowOnly } from '../policies/low-only.ts';
import { anyPolicy, type Policy } from '../policy.ts';
import { type PolicySettings, policySettings } from '../policy-settings.ts';
import { bootstrap, type Interval } from './bootstrap.ts';
import { desktopScenario, firstOrderDesktop, heatedDesktop } from './desktop.ts';
import { firstOrderMachine } from './first-order.ts';
import { heatMachine, type SwapOn, swaps } from './heat.ts';
import type { SimulatedMachine } from './machine.ts';
import type { Metrics } from './metrics.ts';
import { oraclePolicy, rareOraclePolicy } from './oracle.ts';
import { type RunInput, run } from './run.ts';
import type { Scenario } from './scenario.ts';

/** The two models. */
export type Model = 'heat' | 'first-order';

/** The laws that are made for one machine only. */
const oracles: Readonly<Record<string, (machine: SimulatedMachine) => Policy>> = {
  'rare-oracle': (machine) => anyPolicy(rareOraclePolicy(machine)),
  oracle: (machine) => anyPolicy(oraclePolicy(machine)),
};

const compared: readonly Policy[] = [
  ...policies,
  ...references,
  anyPolicy(donorSlack),
  anyPolicy(lowOnly),
];

/** Names that a comparison takes, in the order of its table. */
export const comparedNames: readonly string[] = [
  ...compared.map(({ name }) => name),
  ...Object.keys(oracles),
];

/** The figures of a policy over scenarios. Rates are per hour; means, unless said. */
export interface Figures {
  shortSeconds: number;
  shortGiBs: number;
  /** Of the shortage of all scenarios, 0 to 1. */
  avoidable: number;
  reclaimedGiB: number;
  refaultedGiB: number;
  writesMedian: number;
  reversals: number;
  /** Seconds; absent when nothing had to be relieved. */
  reliefP50?: number;
  reliefP95?: number;
  /** Share of the time in which tasks waited. */
  waitedUser: number;
  waitedSystem: number;
}

/** A policy over all scenarios. */
export interface Row extends Figures {
  policy: string;
  scenarios: number;
  /** 95 % intervals over the scenarios, by bootstrap; absent where one scenario says nothing of others. */
  intervals?: Partial<Record<keyof Figures, Interval>>;
}

/** The smallest value that this share of the values does not exceed. */
export function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** How each figure comes from runs. */
const figuresOf: {
  [name in keyof Required<Figures>]: (runs: readonly Metrics[]) => number | undefined;
} = {
  shortSeconds: (runs) => mean(runs, (one) => one.shortSecondsPerHour),
  shortGiBs: (runs) => mean(runs, (one) => one.shortGiBsPerHour),
  avoidable(runs) {
    const short = mean(runs, (one) => one.shortGiBsPerHour);
    return short > 0 ? mean(runs, (one) => one.avoidableGiBsPerHour) / short : 0;
  },
  reclaimedGiB: (runs) => mean(runs, (one) => one.reclaimedGiBPerHour),
  refaultedGiB: (runs) => mean(runs, (one) => one.refaultedGiBPerHour),
  writesMedian: (runs) =>
    quantile(
      runs.map((one) => one.writesPerHour),
      0.5,
    ) ?? 0,
  reversals: (runs) => mean(runs, (one) => one.reversalsPerHour),
  reliefP50: (runs) => reliefQuantile(runs, 0.5),
  reliefP95: (runs) => reliefQuantile(runs, 0.95),
  waitedUser: (runs) => mean(runs, (one) => one.waited.user),
  waitedSystem: (runs) => mean(runs, (one) => one.waited.system),
};

const mean = (runs: readonly Metrics[], value: (one: Metrics) => number): number =>
  runs.reduce((sum, one) => sum + value(one), 0) / Math.max(1, runs.length);

/** As `quantile` of all reliefs; these are whole seconds, and counted instead of sorted. */
function reliefQuantile(runs: readonly Metrics[], share: number): number | undefined {
  const counts: number[] = [];
  let all = 0;
  for (const { reliefs } of runs)
    for (const seconds of reliefs) {
      counts[seconds] = (counts[seconds] ?? 0) + 1;
      all++;
    }
  let left = Math.max(1, Math.ceil(share * all));
  for (let seconds = 0; seconds < counts.length; seconds++) {
    left -= counts[seconds] ?? 0;
    if (left <= 0) return seconds;
  }
  return undefined;
}

/** Runs by policy, in the order of the scenarios. */
export type Runs = ReadonlyMap<string, readonly Metrics[]>;

/** The rows of a table, with their intervals. */
export function rowsOf(runs: Runs): Row[] {
  return [...runs].map(([policy, all]) => {
    const row: Record<string, unknown> = { policy, scenarios: all.length };
    const intervals: Row['intervals'] = {};
    for (const [name, figure] of Object.entries(figuresOf)) {
      const value = figure(all);
      if (value === undefined) continue;
      row[name] = value;
      const interval = bootstrap(all.length, (drawn) =>
        figure(drawn.map((at) => all[at] as Metrics)),
      );
      if (interval) intervals[name as keyof Figures] = interval;
    }
    if (all.length > 1) row.intervals = intervals;
    return row as unknown as Row;
  });
}

/** The 95 % interval of one policy's figure in relation to another's, over the same scenarios. */
export function ratioInterval(
  runs: Runs,
  [policy, other]: readonly [string, string],
  name: 'shortGiBs' | 'reclaimedGiB',
): Interval | undefined {
  const [ours, theirs] = [runs.get(policy) ?? [], runs.get(other) ?? []];
  const of = (all: readonly Metrics[], drawn: readonly number[]) =>
    figuresOf[name](drawn.map((at) => all[at] as Metrics)) as number;
  return bootstrap(ours.length, (drawn) => of(ours, drawn) / of(theirs, drawn));
}

/** Scenario number `seed` of a model. */
export function seededScenario(model: Model, seed: number): Scenario {
  return desktopScenario(seed, model === 'heat' ? heatedDesktop : firstOrderDesktop);
}

/** Without page heat nothing is fetched back, and it is all one where from. */
export const machineOf = (
  model: Model,
  scenario: Scenario,
  swapOn: SwapOn = 'nvme',
): SimulatedMachine =>
  model === 'heat' ? heatMachine(scenario, swaps[swapOn]) : firstOrderMachine(scenario);

/** What else a run may be told. */
export interface RunOptions
  extends Partial<Pick<RunInput, 'told' | 'decided' | 'hints' | 'settings' | 'killed'>> {
  swapOn?: SwapOn;
}

/**
 * One scenario under the policy of this name. The oracles, and the literal threshold of the first-order table, go
 * without our guard; all others as they would run here.
 */
export async function runNamed(
  name: string,
  model: Model,
  scenario: Scenario,
  more: RunOptions = {},
): Promise<Metrics> {
  const machine = machineOf(model, scenario, more.swapOn);
  const oracle = oracles[name]?.(machine);
  const policy = oracle ?? compared.find((known) => known.name === name);
  if (policy === undefined) throw new Error(`internal error: no policy ${name}`);
  const unguarded = oracle !== undefined || model === 'first-order';
  const settings = more.settings ?? settingsOf(model);
  return await run({ ...more, machine, scenario, policy, settings, unguarded });
}

/** Without page heat the threshold steps as in the published table: times 1.1 and times 0.9. */
export function settingsOf(model: Model, settings = policySettings): PolicySettings {
  if (model === 'heat') return settings;
  return { ...settings, threshold: { ...settings.threshold, stepOf: 'size' } };
}

/** Policies by name over the scenarios. The same arguments give the same runs. */
export async function runAll(
  names: readonly string[],
  model: Model,
  scenarios: Iterable<Scenario>,
  more: RunOptions = {},
): Promise<Runs> {
  const runs = new Map<string, Metrics[]>(names.map((name) => [name, []]));
  for (const scenario of scenarios)
    for (const name of names) runs.get(name)?.push(await runNamed(name, model, scenario, more));
  return runs;
}

/** The table of these runs. */
export async function compare(
  names: readonly string[],
  model: Model,
  scenarios: Iterable<Scenario>,
  more: RunOptions = {},
): Promise<Row[]> {
  return rowsOf(await runAll(names, model, scenarios, more));
}
