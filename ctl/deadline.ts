import type { Client } from '../ipc/client.ts';
import { PersonaError } from '../ipc/errors.ts';
import type { MethodName } from '../ipc/methods/index.ts';

/**
 * Longest wait for an answer, in milliseconds: longer than the daemon's own deadline of the method, so
 * that its word comes first. What is left is a daemon that does not answer at all.
 */
const answerMs = 15_000;
const longMs: Partial<Record<MethodName, number>> = {
  'daemon.doctor': 70_000,
  // Sleep waits for this one.
  'enclave.sleep': 8_000,
  'change.abort': 1_260_000,
  'change.continue': 1_260_000,
  'system.df': 70_000,
  'system.inventory': 70_000,
  'partitions.policy': 70_000,
  'partitions.set': 70_000,
  'app.list': 50_000,
  'app.show': 50_000,
  'app.explain': 50_000,
  'app.import': 50_000,
  'app.sync': 120_000,
  'persona.export': 70_000,
  'persona.diff': 310_000,
};
/** A change that is not waited for is planned first: its inputs are looked at. */
const planMs = 310_000;

/** How long to wait for a call; undefined for a change that is followed to its end. */
export function deadlineOf(method: MethodName, params: object): number | undefined {
  const isChange =
    /^(base\.(import|rm)|persona\.(create|import|verify|rm)|key\.(trust|revoke)|slot\.(create|move|rm|swap|rollback)|fast\.(create|resize|rm)|enclave\.(create|open|close|passwd|recovery|rm)|system\.(gc|scrub|backup|restore)|volume\.(create|resize|rm)|app\.set)$/;
  if (!isChange.test(method)) return longMs[method] ?? answerMs;
  return 'wait' in params ? undefined : planMs;
}

/** Rejects with `timed-out` when `work` does not settle in time. */
export async function inTime<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new PersonaError('timed-out', { what })), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A client whose calls do not wait for ever. */
export function patient(client: Client): Client {
  return {
    ...client,
    call(method, params, options) {
      const ms = deadlineOf(method, params);
      const work = client.call(method, params, options);
      return ms === undefined ? work : inTime(work, ms, method);
    },
  };
}
