import type { CallOptions } from '../ipc/client.ts';
import { type ErrorCode, errorTable, exitStatus, fromWire, PersonaError } from '../ipc/errors.ts';
import type { Answer, ChangeMethod, ChangeResult, Params } from '../ipc/methods/index.ts';
import type { ChangeEvent } from '../ipc/methods/shapes.ts';
import type { Call } from './call.ts';
import { planLines } from './print/plan.ts';
import { type ProgressLine, progressLine, type Step } from './print/progress.ts';
import { say } from './print/safe.ts';

/** How a change that was asked for came out. */
export interface Outcome<M extends ChangeMethod> {
  changeId?: number;
  result: ChangeResult<M>;
}

/** Status of a tool that stopped watching because of Ctrl-C: 128 + SIGINT. */
export const detachedStatus = 130;

/** Ctrl-C where the work ends with the tool. */
export function interrupted(): PersonaError {
  const error = new PersonaError('cancelled');
  error.exit = detachedStatus;
  return error;
}

/** What `work` gives, unless Ctrl-C comes before: then it throws `why`. */
export async function unlessInterrupted<T>(
  call: Call,
  work: Promise<T>,
  why: () => Error = interrupted,
): Promise<T> {
  const cut = Promise.withResolvers<never>();
  const stop = call.io.onInterrupt(() => cut.reject(why()));
  try {
    return await Promise.race([work, cut.promise]);
  } finally {
    stop();
  }
}

/** Says that the watching has ended and the change has not. */
export class Detached extends Error {
  readonly changeId: number | undefined;

  constructor(changeId: number | undefined) {
    super('detached');
    this.changeId = changeId;
  }
}

/** What a progress line shows of an event. */
export function stepOf({ task, progress, status }: ChangeEvent): Step {
  const place = task ? `${task.index + 1}/${task.count} ` : '';
  const undoing = status === 'undoing' ? 'undoing: ' : '';
  const label = `${place}${undoing}${task?.summary ?? status}`;
  const bars = progress ?? (task ? { done: task.index, total: task.count } : undefined);
  return { label, ...bars };
}

/**
 * Watches `work` until it has ended. Ctrl-C ends the watching only: the answer is then a rejection
 * with `Detached`.
 */
export async function watched<T>(
  call: Call,
  knownChange: number | undefined,
  work: (onEvent: (event: ChangeEvent) => void) => Promise<T>,
): Promise<T> {
  const progress: ProgressLine = progressLine(call.io, call.out);
  let changeId = knownChange;
  try {
    const events = (event: ChangeEvent) => {
      changeId = event.changeId;
      progress.show(stepOf(event));
    };
    return await unlessInterrupted(call, work(events), () => new Detached(changeId));
  } finally {
    progress.clear();
  }
}

/**
 * Says that the change goes on, and how to watch or stop it. Answers the exit status.
 * @param beside what JSON says beside it.
 */
export function sayDetached(call: Call, { changeId }: Detached, beside: object = {}): number {
  const name = changeId === undefined ? 'the change' : `change ${changeId}`;
  const id = changeId === undefined ? 'CHANGE' : String(changeId);
  if (call.out.json)
    call.out.result({ ...(changeId && { changeId }), detached: true, ...beside }, () => []);
  else
    call.io.err.write(
      `${
        say`Detached: ${name} goes on. \`personactl change follow ${id}\` watches it, \`personactl change abort ${id}\` stops it.`
          .safe
      }\n`,
    );
  return detachedStatus;
}

/**
 * Asks for a change as the options of the call want it: `--dry-run` prints the plan, `--no-wait` the
 * number of the change; else it is followed to its end and `finish` prints its result.
 * @param beside what JSON says beside the number of a change that is watched no more.
 */
export async function runChange<M extends ChangeMethod>(
  call: Call,
  method: M,
  params: Params<M>,
  finish: (outcome: Outcome<M>) => Promise<number | undefined> | number | undefined,
  beside: object = {},
): Promise<number | undefined> {
  const client = await call.client();
  const ask = async (extra: object, options?: CallOptions) =>
    (await client.call(method, { ...params, ...extra } as Params<M>, options)) as Answer<M> & {
      changeId?: number;
    };
  if (call.has('dry-run')) {
    const { plan } = await ask({ dryRun: true });
    if (plan === undefined) throw new PersonaError('internal', 'the daemon answered no plan');
    call.out.result({ plan }, () => planLines(plan, call.out.style));
    return undefined;
  }
  if (call.has('no-wait')) {
    const { changeId } = await ask({});
    const id = String(changeId);
    call.out.result({ changeId }, () => [
      say`Change ${id} is on its way; \`personactl change follow ${id}\` watches it.`,
    ]);
    return undefined;
  }
  try {
    const { changeId, result } = await watched(call, undefined, (onEvent) =>
      ask({ wait: true }, { onEvent }),
    );
    if (result === undefined) throw new PersonaError('internal', 'the daemon answered no result');
    return await finish({
      ...(changeId !== undefined && { changeId }),
      result: result as ChangeResult<M>,
    });
  } catch (error) {
    if (error instanceof Detached) return sayDetached(call, error, beside);
    throw error;
  }
}

/** The error with which a change ended, or undefined when it ended well. */
export function errorOf({ changeId, status, error }: ChangeEvent): PersonaError | undefined {
  if (status === 'done') return undefined;
  if (status.startsWith('stuck'))
    return new PersonaError('change-stuck', { change: changeId, reason: error?.message ?? '?' });
  if (status === 'aborted' || error === undefined)
    return new PersonaError('change-aborted', { change: changeId });
  const { code, message, hint = '' } = error;
  // The table knows the exit status; a code of a newer daemon counts as a plain failure.
  const exit = Object.hasOwn(errorTable, code)
    ? errorTable[code as ErrorCode].exit
    : exitStatus.failure;
  return fromWire({ code, message, hint, exit, detail: { change: changeId } });
}
