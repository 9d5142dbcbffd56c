import { PersonaError } from '../../ipc/errors.ts';
import { checkedValue } from './journal.ts';
import { type Live, tellTask } from './live.ts';
import { Hung, type RunnerParts } from './parts.ts';
import type { Json, TaskContext } from './task.ts';

/** Runs `work` with its deadline; a task that ignores it and its grace time leaves the change stuck. */
export async function withDeadline<T>(
  live: Live,
  index: number,
  parts: RunnerParts,
  work: (context: TaskContext) => Promise<T>,
): Promise<T> {
  const kind = parts.kinds.get(live.tasks[index]!.spec.kind);
  const limitMs = kind.timeoutMs ?? parts.limits.taskTimeoutMs;
  const aborted = live.stop.signal;
  // One controller, told by hand: a signal joined of two costs a swap more than its mounts.
  const ending = new AbortController();
  let late: PersonaError | undefined;
  const gaveUp = Promise.withResolvers<never>();
  const timers = new Set<NodeJS.Timeout>();
  const after = (ms: number, act: () => void) => timers.add(setTimeout(act, ms).unref());
  const end = (reason: unknown) => {
    if (ending.signal.aborted) return;
    after(parts.limits.taskGraceMs, () => gaveUp.reject(new Hung(`${kind.kind} does not end`)));
    ending.abort(reason);
  };
  const onAbort = () => end(aborted.reason);
  if (live.status === 'doing') {
    if (aborted.aborted) onAbort();
    else aborted.addEventListener('abort', onAbort, { once: true });
  }
  after(limitMs, () => {
    late = new PersonaError('timed-out', { what: kind.kind });
    end(late);
  });
  const running = work(contextOf(live, index, ending.signal, parts));
  try {
    return await Promise.race([running, gaveUp.promise]);
  } catch (error) {
    if (error instanceof Hung) live.hung = running.catch(() => undefined);
    if (late !== undefined && !(error instanceof Hung)) throw late;
    throw error;
  } finally {
    aborted.removeEventListener('abort', onAbort);
    for (const timer of timers) clearTimeout(timer);
  }
}

function contextOf(
  live: Live,
  index: number,
  signal: AbortSignal,
  parts: RunnerParts,
): TaskContext {
  const task = live.tasks[index]!;
  return {
    changeId: live.id,
    ownerUid: live.plan.ownerUid,
    signal,
    live: live.bag,
    progress(progress) {
      task.progress = progress;
      const nowMs = parts.now();
      const last = progress.total !== undefined && progress.done >= progress.total;
      if (!last && nowMs - live.lastProgressMs < parts.limits.progressEveryMs) return;
      live.lastProgressMs = nowMs;
      tellTask(live, index, parts.kinds);
    },
    async save(value) {
      checkedValue(value, 'a saved value', parts.limits.journalValueBytesMax);
      await parts.journal.append({
        changeId: live.id,
        events: [{ task: index, step: 'save', detail: value }],
      });
      task.saved = value;
    },
    earlier<T extends Json>(kind: string): T | undefined {
      const found = live.tasks.slice(0, index).findLast((one) => one.spec.kind === kind);
      return found?.status === 'done' ? (found.saved as T | undefined) : undefined;
    },
    fault: (point) => parts.faults.at(`${task.spec.kind}:${point}`),
  };
}
