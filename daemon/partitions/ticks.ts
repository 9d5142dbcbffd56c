import type { Glance } from './machine-look.ts';
import type { Observation } from './observation.ts';
import type { StepState } from './step.ts';

/** Every so often somebody looks whether there is anything to see, */
const busyMs = 1_000;
/** and less often where nothing is managed and there was nothing to see for a while. */
const restingMs = 5_000;
const restAfterMs = 20_000;
/** Without anything to see a full look is taken this often: what is plotted must not be older. */
const lookEveryMs = 10_000;
/** So much memory more or less is something to see: a share of the total. */
const movedShare = 0.01;

/** The time to the next glance, `quietMs` after the last one that saw something. Pure. */
export function tickMs(manages: boolean, quietMs: number): number {
  return manages || quietMs < restAfterMs ? busyMs : restingMs;
}

/**
 * What there is to see, or undefined. Waiting tasks, memory that came or went, limits in force (each wants its watchdog),
 * or enough time. Pure.
 */
export function worthALook(
  last: Observation | undefined,
  glance: Glance,
  atMs: number,
  limited: boolean,
): string | undefined {
  if (last === undefined) return 'first';
  if (limited) return 'limits';
  if (glance.someUs === undefined) return 'no-pressure-files';
  if (glance.someUs !== last.pressure?.someUs) return 'waiting';
  if (glance.totalBytes !== last.totalBytes) return 'total';
  const moved = Math.abs(glance.availableBytes - last.availableBytes);
  if (moved > movedShare * glance.totalBytes) return 'memory';
  return atMs - last.atMs >= lookEveryMs ? 'time' : undefined;
}

/**
 * Nothing has waited since the last look: what was counted then holds now. Otherwise waiting that begins after a quiet
 * time would be spread over all of it, and be seen too late. Pure.
 */
export function stillQuiet<S extends StepState | undefined>(state: S, atMs: number): S {
  return state?.before === undefined ? state : { ...state, before: { ...state.before, atMs } };
}
