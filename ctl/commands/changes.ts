import type { Command } from '../command.ts';

const change = { name: 'CHANGE', summary: 'Number of the change.', complete: 'change' } as const;

/** Commands about changes. */
export const changeCommands = (): readonly Command[] => [
  {
    name: 'change list',
    group: 'Changes',
    summary: 'List changes that run or need attention.',
    operands: [],
    flags: [
      { name: 'all', short: 'a', summary: 'Also those that have ended.' },
      { name: 'limit', value: 'N', summary: 'At most N of them.' },
    ],
    examples: [['personactl change list --all', '']],
    load: async () => (await import('../run/changes.ts')).list,
  },
  {
    name: 'change show',
    group: 'Changes',
    summary: 'Show one change with its tasks.',
    operands: [change],
    flags: [],
    examples: [['personactl change show 12', '']],
    load: async () => (await import('../run/changes.ts')).show,
  },
  {
    name: 'change follow',
    group: 'Changes',
    summary: 'Watch a change until it has ended.',
    about: ['With --json: one event per line. The exit status is that of the change.'],
    operands: [change],
    flags: [],
    examples: [['personactl change follow 12', '']],
    load: async () => (await import('../run/changes.ts')).follow,
  },
  {
    name: 'change abort',
    group: 'Changes',
    summary: 'Stop a change and undo what it has done.',
    operands: [change],
    flags: [],
    examples: [['personactl change abort 12', '']],
    load: async () => (await import('../run/changes.ts')).abort,
  },
  {
    name: 'change continue',
    group: 'Changes',
    summary: 'Try the last steps of a stuck change again.',
    operands: [change],
    flags: [],
    examples: [['personactl change continue 12', 'after its cause was repaired']],
    load: async () => (await import('../run/changes.ts')).resume,
  },
];
