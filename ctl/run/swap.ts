import type { ChangeResult } from '../../ipc/methods/index.ts';
import { formatDuration } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { type Outcome, runChange } from '../change.ts';
import { type Safe, say } from '../print/safe.ts';
import { activeName, generationState } from '../print/slot-lines.ts';
import { busyOf } from './busy.ts';

type Swapped = ChangeResult<'slot.swap'>;

/** Which of its states a persona has now. */
function stateText({ resumed, generation }: Swapped, call: Call): string {
  if (!resumed) return '';
  if (generation.reason !== 'rollback') return ', its last state here is back';
  const to = call.number('to');
  return to === undefined ? ', as it was before' : `, as it was in generation ${to}`;
}

function lines(swapped: Swapped, call: Call): Safe[] {
  const { slot, generation, previous, timing } = swapped;
  const { out } = call;
  const { style } = out;
  const before = previous ? say` (was ${activeName(previous)})` : '';
  const took = formatDuration(timing.totalMs);
  const arrow = out.unicode ? say`→` : '->';
  const parts = `prepared ${formatDuration(timing.prepareMs)}, recorded ${formatDuration(timing.commitMs)}, switched ${formatDuration(timing.flipMs)}`;
  return [
    say`${style.bold(slot)} ${arrow} ${style.cyan(activeName(generation))}${before}${stateText(swapped, call)}`,
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
