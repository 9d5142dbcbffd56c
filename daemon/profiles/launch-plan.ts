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
  /** Memory that is known to be needed soon: what others than the user say, or what several runs of his have come to. */
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

/** Surer than one run. */
const ANNOUNCED_CONFIDENCE_MIN = 0.5;

/** Memory to announce, and memory that may be protected: of a program that is known by its file, and not on the word of its user. */
function memoryOf({ application, recognised }: Launch): { announced?: number; granted?: number } {
  const [first, ...more] = application.facts.memory ?? [];
  if (recognised.by !== 'executable' || first === undefined || first.source === 'user') return {};
  if (first.source !== 'measured') return { announced: first.value, granted: first.value };
  // What he has run himself never raises what others grant him.
  const others = more.find(({ source }) => source !== 'user' && source !== 'measured');
  return {
    ...(first.confidence >= ANNOUNCED_CONFIDENCE_MIN && { announced: first.value }),
    ...(others && { granted: Math.min(first.value, others.value) }),
  };
}

/** As it always has been. */
const plain = (): Way => ({ argv: [], environment: { set: {}, unset: [] }, notices: [] });

/**
 * The plan for one launch, without what its profile puts before the command. `standard` leaves the program as it is: what is done for it is
 * done by its group. Throws `profile-unavailable` when it must not start. Pure.
 */
export function planLaunch(launch: Launch): LaunchPlan {
  const { application, recognised, wish, obstacles } = launch;
  const choice = choose({ application, recognised, obstacles, ...(wish && { wish }) });
  const { profile, rule, why, refused, served } = choice;
  if (refused !== undefined)
    throw new PersonaError('profile-unavailable', {
      app: application.id,
      profile,
      reason: refused,
    });
  const { announced, granted } = memoryOf(launch);
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
    weights: weightsOf(choice.cpu, granted),
  };
}
