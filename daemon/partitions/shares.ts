import { PersonaError } from '../../ipc/errors.ts';
import type { Settings } from '../config/settings.ts';
import { type PolicySettings, policySettings } from './policy-settings.ts';

/** What a person sets of the constants of policies: percent of the memory, or of a part of it. */
export interface Shares {
  /** Of the memory: the user's part, where it begins. */
  user: number;
  /** Of the memory: no part is smaller, or greater. */
  least: number;
  most: number;
  /** Of a part: use above the first asks for more, below the second gives some away. */
  grow: number;
  shrink: number;
  /** Of the memory: what one step moves. */
  step: number;
}

const percent = (part: number): number => Math.round(part * 100);

/** Those of the specification: in force where nobody has set others. */
export const usualShares: Shares = {
  user: percent(policySettings.userShare),
  least: percent(policySettings.minShare),
  most: percent(policySettings.maxShare),
  grow: percent(policySettings.threshold.growAbove),
  shrink: percent(policySettings.threshold.shrinkBelow),
  step: percent(policySettings.threshold.step),
};

/** Those of the settings. */
export const sharesOf = ({ values }: Pick<Settings, 'values'>): Shares => ({
  user: values['partitions.user_percent'],
  least: values['partitions.least_percent'],
  most: values['partitions.most_percent'],
  grow: values['partitions.grow_percent'],
  shrink: values['partitions.shrink_percent'],
  step: values['partitions.step_percent'],
});

/** Throws `bad-value` for shares that do not go together, or leave a side nothing. */
export function checkShares({ user, least, most, grow, shrink, step }: Shares): void {
  const refuse = (name: string, reason: string): never => {
    throw new PersonaError('bad-value', { name, reason });
  };
  const [low, high] = [Math.max(least, 100 - most), Math.min(most, 100 - least)];
  if (least < 5) refuse('the least part', 'it is at least 5 %: a side with nothing cannot run');
  if (low > high)
    refuse('the greatest part', `with a least part of ${least} % it is at least 50 %`);
  if (user < low || user > high)
    refuse(
      'the part of the user',
      `so that no side has less than ${least} % or more than ${most} % it is from ${low} to ${high} %`,
    );
  if (shrink >= grow)
    refuse('where a side gives away', `it is below ${grow} %, where one asks for more`);
  if (step < 1) refuse('the step', 'it is at least 1 %');
}

/** What policies go by, with these shares. */
export function settingsWith(shares: Shares): PolicySettings {
  const { threshold, protective } = policySettings;
  return {
    ...policySettings,
    minShare: shares.least / 100,
    maxShare: shares.most / 100,
    userShare: shares.user / 100,
    threshold: {
      ...threshold,
      growAbove: shares.grow / 100,
      shrinkBelow: shares.shrink / 100,
      step: shares.step / 100,
    },
    protective: { ...protective, userPart: shares.user / 100 },
  };
}
