import type { Policy } from '../policy.ts';

/** For comparison: fixed protections and no limit. */
export const lowOnly: Policy<null> = {
  name: 'low-only',
  summary: 'For comparison: fixed protections of 60 and 25 %, no limits.',
  decide({ now }) {
    const goals = {
      user: { lowBytes: 0.6 * now.totalBytes },
      system: { lowBytes: 0.25 * now.totalBytes },
    };
    return { state: null, goals, why: [] };
  },
};
