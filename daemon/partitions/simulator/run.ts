import type { Amount, Side } from '../observation.ts';
import type { Hint, Policy, Reason } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';
import { type StepState, step } from '../step.ts';
import type { Second, SimulatedMachine } from './machine.ts';
import { gauge, type Metrics } from './metrics.ts';
import type { Scenario } from './scenario.ts';

/** A launch is announced when it happens, and taken for so long. */
const HINT_MS = 30_000;

export interface RunInput {
  machine: SimulatedMachine;
  scenario: Scenario;
  policy: Policy;
  settings: PolicySettings;
  /** As the law was published, without our guard. */
  unguarded?: boolean;
  /** Launches are announced to the policy. */
  hints?: boolean;
  /** Is told of every second, for plots. */
  told?(second: number, done: Second, machine: SimulatedMachine): void;
  /** Is told of every decision. */
  decided?(second: number, why: readonly Reason[]): void;
}

const finite = (value: Amount, total: number): number => (value === 'max' ? total : value);

/** One scenario under one policy: looks once a second, as the daemon does on a busy machine. */
export function run(input: RunInput): Metrics {
  const { machine, scenario, policy, settings, unguarded = false } = input;
  const { seconds, totalBytes } = scenario;
  const measure = gauge();
  let state: StepState | undefined;
  let hints: Hint[] = [];
  let next = 0;
  const launches = input.hints
    ? [...scenario.launches].sort((one, other) => one.second - other.second)
    : [];
  for (let second = 0; second < seconds; second++) {
    const now = machine.observe(second);
    for (let launch = launches[next]; launch && launch.second <= second; launch = launches[++next])
      hints.push({ ...launch, expiresAtMs: now.atMs + HINT_MS });
    if (hints.length > 0) hints = hints.filter(({ expiresAtMs }) => expiresAtMs > now.atMs);
    const turn = step({ policy, settings, now, hints, state, unguarded });
    state = turn.state;
    for (const { side, knob, value } of turn.writes) {
      const old = finite(machine.read(side, knob), totalBytes);
      const by = finite(machine.write(side, knob, value), totalBytes) - old;
      // The first value of a knob moves nothing.
      if (second > 0) measure.wrote(second, `${side} ${knob}`, by * sign(side));
    }
    input.decided?.(second, turn.why);
    const done = machine.advance(second);
    measure.second(second, done);
    input.told?.(second, done, machine);
  }
  return measure.metrics(seconds);
}

const sign = (side: Side): number => (side === 'user' ? 1 : -1);
