import type { Io } from './io.ts';

/**
 * Does `work` now and then every `everyMs`, until Ctrl-C or until `forMs` have passed; a turn that has begun is ended.
 * A turn that takes longer puts off the next one. A failure of `work` ends it.
 */
export async function repeat(
  io: Pick<Io, 'onInterrupt'>,
  { everyMs, forMs = Number.POSITIVE_INFINITY }: { everyMs: number; forMs?: number },
  work: () => Promise<void>,
): Promise<void> {
  const end = performance.now() + forMs;
  const pressed = Promise.withResolvers<boolean>();
  const deaf = io.onInterrupt(() => pressed.resolve(true));
  try {
    let stop = false;
    while (!stop) {
      await work();
      if (performance.now() + everyMs > end) break;
      const waited = Promise.withResolvers<boolean>();
      const timer = setTimeout(() => waited.resolve(false), everyMs);
      stop = await Promise.race([pressed.promise, waited.promise]);
      clearTimeout(timer);
    }
  } finally {
    deaf();
  }
}
