import type { Call } from '../call.ts';

const modes = ['wait', 'kill', 'refuse'] as const;

/** What the call wants to happen with programs in the slot; nothing when it does not say. */
export function busyOf(call: Call): { busy?: (typeof modes)[number] } {
  const busy = modes.find((mode) => call.has(mode));
  return busy === undefined ? {} : { busy };
}
