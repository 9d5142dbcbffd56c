import type { Policy } from '../policy.ts';

/** A fixed split, kept by limits: what partitions were before they could move. */
export const staticPolicy: Policy<null> = {
  name: 'static',
  summary: 'Fixed shares, as limits.',
  decide({ settings, now }) {
    const user = settings.userShare * now.totalBytes;
    const system = now.totalBytes - user;
    const goals = {
      user: { lowBytes: user, highBytes: user },
      system: { lowBytes: system, highBytes: system },
    };
    return { state: null, goals, why: [{ rule: 'fixed', text: 'the shares are fixed' }] };
  },
};
