import { startAsCaller } from './as-caller.ts';
import type { Caller } from './become-caller.ts';
import type { Weights } from './scope-unit.ts';

/** The manager of a user's session answers in some 20 ms; a busy one gets this long. */
const DEADLINE_MS = 2_000;

/**
 * Has a user's own service manager, the one writer of his tree, set weights of one of his units until it ends. Asked as that user:
 * whatever he has made of his manager, it is asked for nothing else. Rejects where it refuses.
 */
export async function weighUserUnit(caller: Caller, unit: string, weights: Weights): Promise<void> {
  const { cpuWeight, ioWeight, memoryLow } = weights;
  const properties = Object.entries({
    CPUWeight: cpuWeight,
    IOWeight: ioWeight,
    MemoryLow: memoryLow,
  })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`);
  if (properties.length === 0) return;
  const child = await startAsCaller({
    caller,
    deadlineMs: DEADLINE_MS,
    argv: [
      '/usr/bin/env',
      '-i',
      `XDG_RUNTIME_DIR=/run/user/${caller.uid}`,
      '/usr/bin/systemctl',
      ...['--user', '--quiet', 'set-property', '--runtime', '--', unit],
      ...properties,
    ],
  });
  await child.done;
}
