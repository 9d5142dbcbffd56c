import type { CallContext } from '../../ipc/calls.ts';
import { type ErrorCode, errorTable, fromWire, PersonaError } from '../../ipc/errors.ts';
import type { ChangeMethod } from '../../ipc/methods/index.ts';
import type { Failure, Result } from '../changes/change.ts';
import type { Engine } from '../changes/engine.ts';
import { isStuck } from '../changes/status.ts';
import type { Planned } from './rooms.ts';

/** A change that ends before this is not worth an event. */
const quietMs = 100;

/** The error of a failed change, with its number. */
export function failureError({ code, message, hint = '' }: Failure, change: number): PersonaError {
  const exit = Object.hasOwn(errorTable, code) ? errorTable[code as ErrorCode].exit : 1;
  return fromWire({ code, message, hint, exit, detail: { change } });
}

/** The given value of a change that is done. Throws what it failed with. */
function outcome({ changeId: change, status, result, error }: Result) {
  if (status === 'done') return result;
  if (isStuck(status))
    throw new PersonaError('change-stuck', { change, reason: error?.message ?? status });
  throw error ? failureError(error, change) : new PersonaError('change-aborted', { change });
}

/** Sends the events of a change that takes longer to the request, until it ends or the peer is gone. */
function tellLater(engine: Engine, change: number, context: CallContext): () => void {
  let over = false;
  let stop = () => {};
  const begin = async () => {
    const unfollow = await engine.follow(change, (event) => void context.event(event));
    if (over) unfollow();
    else stop = unfollow;
  };
  // Whoever cannot follow still gets the answer.
  const timer = setTimeout(() => void begin().catch(() => {}), quietMs);
  return () => {
    over = true;
    clearTimeout(timer);
    stop();
  };
}

/** What `done` gives; rejects when the connection is gone: its request keeps no place, the change goes on. */
async function unlessGone<T>(gone: AbortSignal, done: Promise<T>): Promise<T> {
  const cut = Promise.withResolvers<never>();
  const onGone = () => cut.reject(new PersonaError('cancelled'));
  gone.addEventListener('abort', onGone);
  try {
    return await Promise.race([done, cut.promise]);
  } finally {
    // One connection may ask for changes without end.
    gone.removeEventListener('abort', onGone);
  }
}

/** Plans, starts or waits for a change, as the caller asked. `begun` is called when the change has its inputs. */
export async function runChange<M extends ChangeMethod>(
  engine: Engine,
  { plan, answer }: Planned<M>,
  { dryRun, wait }: { dryRun?: boolean | undefined; wait?: boolean | undefined },
  context: CallContext,
  begun: () => void = () => {},
): Promise<unknown> {
  if (dryRun === true) return { plan: engine.dryRun(plan) };
  const { changeId, written, done } = await engine.submit(plan);
  begun();
  if (wait !== true) {
    await written;
    return { changeId };
  }
  const stop = tellLater(engine, changeId, context);
  try {
    const given = outcome(await unlessGone(context.gone, done));
    return { changeId, result: answer ? await answer(given) : given };
  } finally {
    stop();
  }
}
