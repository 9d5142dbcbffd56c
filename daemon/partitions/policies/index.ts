import { anyPolicy, type Policy } from '../policy.ts';
import { memavaildLike } from './memavaild-like.ts';
import { protectivePolicy } from './protective.ts';
import { senpaiLike } from './senpai-like.ts';
import { staticPolicy } from './static.ts';
import { thresholdPolicy } from './threshold.ts';

/** Policies that may run a machine, by name; the first is the default. */
export const policies: readonly Policy[] = [
  anyPolicy(protectivePolicy),
  anyPolicy(thresholdPolicy),
  anyPolicy(staticPolicy),
];

/** Laws of others, for comparison in the simulator only. */
export const references: readonly Policy[] = [anyPolicy(memavaildLike), anyPolicy(senpaiLike)];

export const findPolicy = (name: string): Policy | undefined =>
  policies.find((policy) => policy.name === name);
