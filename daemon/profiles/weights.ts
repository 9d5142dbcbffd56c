import type { Weights } from '../kernel/scope-unit.ts';
import type { Choice } from './selection.ts';

/** Every group starts with 100. */
const background = { cpuWeight: 20, ioWeight: 20 };
const high = { cpuWeight: 300, ioWeight: 300 };
/** Memory of one application that others cannot press it out of. */
const protectedBytesMax = 1024 ** 3;

/**
 * What the group of an application is to have beside others. Only what others than its user say may raise it, as `cpu` and
 * `grantedBytes` do already. Pure.
 */
export function weightsOf(cpu: Choice['cpu'], grantedBytes: number | undefined): Weights {
  if (cpu === 'background') return background;
  if (cpu === 'normal') return {};
  if (grantedBytes === undefined) return high;
  return { ...high, memoryLow: Math.min(grantedBytes, protectedBytesMax) };
}
