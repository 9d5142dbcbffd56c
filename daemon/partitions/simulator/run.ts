import { LeaseBook } from '../lease-book.ts';
import { Leases } from '../leases.ts';
import type { Amount, Side } from '../observation.ts';
import type { Hint, Policy, Reason } from '../policy.ts';
import type { PolicySettings } from '../policy-settings.ts';
import { Turns } from '../turns.ts';
import { simulatedGround, simulatedPage, simulatedPlaces } from './groups.ts';
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
  /** The daemon is killed before these seconds, and another one starts. */
  killed?(second: number): boolean;
  /** Is told of every second, for plots. */
  told?(second: number, done: Second, machine: SimulatedMachine): void;
  /** Is told of every decision. */
  decided?(second: number, why: readonly Reason[]): void;
}

const finite = (value: Amount | undefined, total: number): number =>
  typeof value === 'number' ? value : total;

/** Launches as hints, each from its second on. */
function announcer({ launches }: Scenario): (second: number) => Hint[] {
  const coming = [...launches].sort((one, other) => one.second - other.second);
  let hints: Hint[] = [];
  let next = 0;
  return (second) => {
    const atMs = second * 1000;
    for (let launch = coming[next]; launch && launch.second <= second; launch = coming[++next])
      hints.push({ type: 'program', ...launch, expiresAtMs: atMs + HINT_MS });
    if (hints.length > 0) hints = hints.filter(({ expiresAtMs }) => expiresAtMs > atMs);
    return hints;
  };
}

/**
 * One scenario under one policy: a look once a second, as the daemon does on a busy machine, and the daemon's own turns
 * and leases on groups in memory. In the end, as at the end of a daemon, all knobs go back.
 */
export async function run(input: RunInput): Promise<Metrics> {
  const { machine, scenario, policy, settings, unguarded = false } = input;
  const { seconds, totalBytes } = scenario;
  const measure = gauge();
  const page = simulatedPage();
  const ground = simulatedGround(machine);
  let second = 0;
  const open = () => {
    const book = LeaseBook.open(page);
    const leases = new Leases({ book, ground, boot: 'simulated', now: () => second * 1000 });
    return { leases, turns: new Turns({ places: simulatedPlaces, leases }) };
  };
  let { leases, turns } = open();
  const announced = input.hints ? announcer(scenario) : () => [];
  for (; second < seconds; second++) {
    if (input.killed?.(second)) {
      ({ leases, turns } = open());
      await leases.releaseAll();
    }
    const now = machine.observe(second);
    const hints = announced(second);
    const turn = await turns.take({ policy, settings, now, hints, unguarded, manage: true });
    for (const { side, knob, value, state } of turn.writes) {
      if (state !== 'written') continue;
      const seen = now.sides[side];
      const old = finite(knob === 'memory.low' ? seen?.low : seen?.high, totalBytes);
      const by = finite(value, totalBytes) - old;
      // The first value of a knob moves nothing.
      if (second > 0) measure.wrote(second, `${side} ${knob}`, by * sign(side));
    }
    input.decided?.(second, turn.why);
    const done = machine.advance(second);
    measure.second(second, done);
    input.told?.(second, done, machine);
  }
  const left = (await leases.releaseAll()).filter(({ state }) => state === 'failed');
  if (left.length > 0 || page.read() !== undefined)
    throw new Error(`internal error: ${left.length} simulated knobs did not go back`);
  return measure.metrics(seconds);
}

const sign = (side: Side): number => (side === 'user' ? 1 : -1);
