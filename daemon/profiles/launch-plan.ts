import { PersonaError } from '../../ipc/errors.ts';
import type { Weights } from '../kernel/scope-unit.ts';
import type { Application, Profile } from './application.ts';
import type { Recognised } from './identity.ts';
import { type Choice, choose, type Question } from './selection.ts';
import type { ServedFolder } from './served.ts';
import { weightsOf } from './weights.ts';

/** Why profiles cannot be had by a caller; absent where they can. */
export type Obstacles = Question['obstacles'];

/** What a profile puts before a command, and around it. */
export interface Way {
  /** Words before the command; the first is an absolute path. */
  argv: string[];
  /** With `keep`, only these variables of the caller stay. */
  environment: { set: Record<string, string>; unset: string[]; keep?: string[] };
  /** A file that `argv` expects open as 3; all other descriptors from there up are closed. */
  filter?: string;
  /** For the person who starts it. */
  notices: string[];
}

/** How a program is to be started by whoever asks. */
export interface LaunchPlan extends Way {
  profile: Profile;
  rule: Choice['rule'];
  reason: string;
  /** For `fast`: what is to lie in memory. The way is made of it. */
  served: ServedFolder[];
  /** Memory that is known to be needed soon; nothing that the user's own metadata says counts here. */
  memoryBytes?: number;
  /** What its group is to have beside others. */
  weights: Weights;
}

/** What is known of a program that starts. */
export interface Launch {
  application: Application;
  recognised: Recognised;
  /** The profile that the caller asks for. */
  wish?: Profile | undefined;
  obstacles: Obstacles;
}

/** As it always has been. */
const plain = (): Way => ({ argv: [], environment: { set: {}, unset: [] }, notices: [] });

/**
 * The plan for one launch, without what its profile puts before the command. `standard` leaves the program as it is: what is done for it is
 * done by its group. Throws `profile-unavailable` when it must not start. Pure.
 */
export function planLaunch({ application, recognised, wish, obstacles }: Launch): LaunchPlan {
  const choice = choose({ application, recognised, obstacles, ...(wish && { wish }) });
  const { profile, rule, why, refused, memoryBytes, served } = choice;
  if (refused !== undefined)
    throw new PersonaError('profile-unavailable', {
      app: application.id,
      profile,
      reason: refused,
    });
  const told = choice.evidence.find(({ fact }) => fact === 'memory');
  const announced =
    recognised.by === 'executable' && told !== undefined && told.source !== 'user'
      ? memoryBytes
      : undefined;
  const givenUp = profile === 'fast' && served.length === 0;
  const reason = givenUp ? `${why}, and none of its folders may lie in memory` : why;
  const runs = givenUp ? 'standard' : profile;
  return {
    ...plain(),
    profile: runs,
    rule,
    reason,
    notices: wish !== undefined && wish !== runs ? [reason] : [],
    served,
    ...(announced === undefined ? {} : { memoryBytes: announced }),
    weights: weightsOf(choice.cpu, announced),
  };
}
