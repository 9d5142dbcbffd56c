import { donorSlack } from '../policies/donor-slack.ts';
import { policies, references } from '../policies/index.ts';
import { lowOnly } from '../policies/low-only.ts';
import { anyPolicy, type Policy } from '../policy.ts';
import { type PolicySettings, policySettings } from '../policy-settings.ts';
import { desktopScenario, firstOrderDesktop, heatedDesktop } from './desktop.ts';
import { firstOrderMachine } from './first-order.ts';
import { heatMachine } from './heat.ts';
import type { SimulatedMachine } from './machine.ts';
import type { Metrics } from './metrics.ts';
import { oraclePolicy } from './oracle.ts';
import { type RunInput, run } from './run.ts';
import type { Scenario } from './scenario.ts';

/** The two models. */
export type Model = 'heat' | 'first-order';

/** The law that is made for one machine only. */
const ORACLE = 'oracle';

const compared: readonly Policy[] = [
  ...policies,
  ...references,
  anyPolicy(donorSlack),
  anyPolicy(lowOnly),
];

/** Names that a comparison takes, in the order of its table. */
export const comparedNames: readonly string[] = [...compared.map(({ name }) => name), ORACLE];

/** A policy over all scenarios. Rates are per hour; means, unless said. */
export interface Row {
  policy: string;
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
  scenarios: number;
}

/** The smallest value that this share of the values does not exceed. */
export function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

function rowOf(policy: string, runs: readonly Metrics[]): Row {
  const mean = (value: (one: Metrics) => number) =>
    runs.reduce((sum, one) => sum + value(one), 0) / Math.max(1, runs.length);
  const shortGiBs = mean((one) => one.shortGiBsPerHour);
  const reliefs = runs.flatMap((one) => one.reliefs);
  const [p50, p95] = [quantile(reliefs, 0.5), quantile(reliefs, 0.95)];
  return {
    policy,
    shortSeconds: mean((one) => one.shortSecondsPerHour),
    shortGiBs,
    avoidable: shortGiBs > 0 ? mean((one) => one.avoidableGiBsPerHour) / shortGiBs : 0,
    reclaimedGiB: mean((one) => one.reclaimedGiBPerHour),
    refaultedGiB: mean((one) => one.refaultedGiBPerHour),
    writesMedian:
      quantile(
        runs.map((one) => one.writesPerHour),
        0.5,
      ) ?? 0,
    reversals: mean((one) => one.reversalsPerHour),
    ...(p50 !== undefined && { reliefP50: p50 }),
    ...(p95 !== undefined && { reliefP95: p95 }),
    waitedUser: mean((one) => one.waited.user),
    waitedSystem: mean((one) => one.waited.system),
    scenarios: runs.length,
  };
}

/** Scenario number `seed` of a model. */
export function seededScenario(model: Model, seed: number): Scenario {
  return desktopScenario(seed, model === 'heat' ? heatedDesktop : firstOrderDesktop);
}

export const machineOf = (model: Model, scenario: Scenario): SimulatedMachine =>
  model === 'heat' ? heatMachine(scenario) : firstOrderMachine(scenario);

/**
 * One scenario under the policy of this name. The oracle, and the literal threshold of the first-order table, go
 * without our guard; all others as they would run here.
 */
export function runNamed(
  name: string,
  model: Model,
  scenario: Scenario,
  more: Partial<Pick<RunInput, 'told' | 'decided' | 'hints' | 'settings'>> = {},
): Metrics {
  const machine = machineOf(model, scenario);
  const known = compared.find((policy) => policy.name === name);
  const policy = known ?? anyPolicy(oraclePolicy(machine));
  const unguarded = known === undefined || model === 'first-order';
  const settings = more.settings ?? settingsOf(model);
  return run({ ...more, machine, scenario, policy, settings, unguarded });
}

/** Without page heat the threshold steps as in the published table: times 1.1 and times 0.9. */
function settingsOf(model: Model): PolicySettings {
  if (model === 'heat') return policySettings;
  return { ...policySettings, threshold: { ...policySettings.threshold, stepOf: 'size' } };
}

/** Policies by name over the scenarios. The same arguments give the same rows. */
export function compare(
  names: readonly string[],
  model: Model,
  scenarios: Iterable<Scenario>,
  hints = false,
): Row[] {
  const runs = new Map<string, Metrics[]>(names.map((name) => [name, []]));
  for (const scenario of scenarios)
    for (const name of names) runs.get(name)?.push(runNamed(name, model, scenario, { hints }));
  return names.map((name) => rowOf(name, runs.get(name) ?? []));
}
