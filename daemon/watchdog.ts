import type { Log } from './changes/log.ts';

/** Pings in one limit: one may be late without harm. */
const pingsPerLimit = 3;

/**
 * Pings the manager only when a pool thread answers and the journal can be written (SECURITY 26): a
 * daemon that still turns its loop but can do nothing else is started anew.
 * @param limitMs WatchdogSec= of the unit; nothing is done without one.
 */
export function startWatchdog(
  alive: () => Promise<void>,
  limitMs: number,
  ping: () => void,
  log: Log,
): NodeJS.Timeout | undefined {
  if (!(limitMs > 0)) return undefined;
  let asking = false;
  return setInterval(async () => {
    if (asking) return;
    asking = true;
    try {
      await alive();
      ping();
    } catch (error) {
      log.error({ err: error }, 'no sign of life for the watchdog');
    } finally {
      asking = false;
    }
  }, limitMs / pingsPerLimit);
}
