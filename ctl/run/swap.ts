import type { ChangeResult } from '../../ipc/methods/index.ts';
import { formatDuration } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { type Outcome, runChange } from '../change.ts';
import { type Safe, say } from '../print/safe.ts';
import { activeName, generationState } from '../print/slot-lines.ts';
import { busyOf } from './busy.ts';

type Swapped = ChangeResult<'slot.swap'>;

function lines({ slot, generation, previous, resumed, timing }: Swapped, { out }: Call): Safe[] {
  const { style } = out;
  const before = previous ? say` (was ${activeName(previous)})` : '';
  const took = formatDuration(timing.totalMs);
  const arrow = out.unicode ? say`→` : '->';
  const state = resumed ? ', its last state here is back' : '';
  const parts = `prepared ${formatDuration(timing.prepareMs)}, recorded ${formatDuration(timing.commitMs)}, switched ${formatDuration(timing.flipMs)}`;
  return [
    say`${style.bold(slot)} ${arrow} ${style.cyan(activeName(generation))}${before}${state}`,
    say`  generation ${generation.number} ${generationState(generation, style)}, ${style.bold(took)} ${style.dim(say`(${parts})`)}`,
  ];
}

function finish(call: Call) {
  return (outcome: Outcome<'slot.swap' | 'slot.rollback'>): undefined => {
    call.out.done(outcome, () => lines(outcome.result, call));
  };
}

/** `personactl swap` */
export async function swap(call: Call): Promise<number | undefined> {
  const params = {
    slot: call.name('SLOT'),
    persona: call.reference('PERSONA'),
    ...(call.has('fresh') && { fresh: true }),
    ...busyOf(call),
  };
  return runChange(call, 'slot.swap', params, finish(call));
}

/** `personactl rollback` */
export async function rollback(call: Call): Promise<number | undefined> {
  const to = call.number('to');
  const params = {
    slot: call.name('SLOT'),
    ...(to !== undefined && { to }),
    ...(call.has('base') && { base: true }),
    ...busyOf(call),
  };
  return runChange(call, 'slot.rollback', params, finish(call));
}
