import type { Params } from '../../ipc/methods/index.ts';
import type { Call } from '../call.ts';

export const shareNames = ['user', 'least', 'most', 'grow', 'shrink', 'step'] as const;

/** The shares that the command line names; undefined without any. */
export function wantedShares(call: Call): Params<'partitions.set'> | undefined {
  const wanted: Params<'partitions.set'> = {};
  for (const name of shareNames) {
    const value = call.number(name, 0);
    if (value !== undefined) wanted[name] = value;
  }
  return Object.keys(wanted).length > 0 ? wanted : undefined;
}
