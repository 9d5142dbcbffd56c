import type { Log } from '../changes/log.ts';
import { groupId } from '../kernel/cgroups.ts';
import { freezeGroup, killGroup } from '../kernel/end-group.ts';
import type { RunningApplication } from './running.ts';
import type { Choice } from './selection.ts';

/** What is done about a program that runs though it must be kept apart. */
export const violationPolicies = ['warn', 'freeze', 'kill'] as const;
export type ViolationPolicy = (typeof violationPolicies)[number];

/** What is only called sensitive may run otherwise. */
export const mustBeApart = ({ profile, rule }: Choice): boolean =>
  profile === 'secure' && rule !== 'sensitive';

/** What is told of a program that was started without the daemon: whatever it should be, it runs as everything does. */
export function toldOf(choice: Choice): Pick<RunningApplication, 'profile' | 'rule' | 'reason'> {
  const { profile, rule, why } = choice;
  const isAsItShould = profile === 'standard' || mustBeApart(choice);
  const reason = isAsItShould ? why : `${why}; the next start through personad will be`;
  return { profile: 'standard', rule, reason };
}

/** What is told of it. */
export const violationText = ({ why }: Choice, done: string): string =>
  `must be kept apart (${why}), and was started past personad; ${done}`;

/** What must be kept apart runs beside everything else, in the group at `folder`. Returns what was done about it; undefined where it may. */
export async function stopViolation(
  folder: string,
  choice: Choice,
  { policy, log }: { policy: ViolationPolicy; log: Log },
): Promise<string | undefined> {
  if (!mustBeApart(choice)) return undefined;
  const { why } = choice;
  log.warn({ folder, policy, why }, 'a program runs that must be kept apart');
  let done = 'it goes on';
  if (groupId(folder) !== undefined) {
    if (policy === 'freeze')
      done = (await freezeGroup(folder))
        ? 'it is frozen'
        : 'it goes on: groups of cgroup version 1 are not frozen';
    if (policy === 'kill') {
      await killGroup(folder);
      done = 'it was ended';
    }
  }
  return violationText(choice, done);
}
