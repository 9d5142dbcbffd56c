import type { Command } from '../command.ts';
import { shareFlags } from './share-flags.ts';

/** Commands about the shares of memory. */
export const partitionCommands = (): readonly Command[] => [
  {
    name: 'partitions show',
    group: 'Partitions',
    summary: 'Show how memory and disks are used, and what is set for each side.',
    about: [
      'The sides are two cgroups, user.slice and system.slice unless the settings name others. By default nothing is set: the daemon observes, and `partitions explain` says what it would do. `partitions policy --mode manage` lets it.',
    ],
    operands: [],
    flags: [],
    examples: [['personactl partitions show', '']],
    load: async () => (await import('../run/partitions.ts')).show,
  },
  {
    name: 'partitions watch',
    group: 'Partitions',
    summary: 'Show the same page again and again, until Ctrl-C.',
    operands: [],
    flags: [
      { name: 'every', short: 'n', value: 'SECONDS', summary: 'Time between two looks (2).' },
    ],
    examples: [['personactl partitions watch', '']],
    load: async () => (await import('../run/partition-watch.ts')).watch,
  },
  {
    name: 'partitions record',
    group: 'Partitions',
    summary: 'Write down how much memory each side uses, until Ctrl-C.',
    about: [
      'The file is one that `personactl partitions replay` reads: a row for each look, with what each side had in memory, how much of that was page cache, what it had in swap, the share of the time in which its tasks waited, and what the machine had and could give. So the machine that is simulated is this one. What was written stays when the recording breaks off.',
    ],
    operands: [],
    flags: [
      {
        name: 'output',
        short: 'o',
        value: 'FILE',
        summary: 'Where to write (partitions.csv).',
        complete: 'file',
      },
      { name: 'every', short: 'n', value: 'SECONDS', summary: 'Time between two looks (1).' },
      { name: 'for', value: 'SECONDS', summary: 'End after this time.' },
      { name: 'force', short: 'f', summary: 'Replace the file when it exists.' },
    ],
    examples: [
      ['personactl partitions record --for 3600 -o today.csv', ''],
      ['personactl partitions replay today.csv', ''],
    ],
    load: async () => (await import('../run/partition-record.ts')).record,
  },
  {
    name: 'partitions explain',
    group: 'Partitions',
    summary: 'Show why the last decision about memory, and about volumes, is as it is.',
    operands: [],
    flags: [{ name: 'all', short: 'a', summary: 'Also the earlier ones that changed something.' }],
    examples: [['personactl partitions explain', '']],
    load: async () => (await import('../run/partitions.ts')).explain,
  },
  {
    name: 'partitions history',
    group: 'Partitions',
    summary: 'Show how memory and disks were used.',
    operands: [],
    flags: [
      {
        name: 'step',
        value: 'TIME',
        summary:
          'Length of a point: 10s (kept for an hour), 1min (12 hours), 15min (a week), 24h (a year).',
        choices: ['10s', '1min', '15min', '24h'],
      },
    ],
    examples: [['personactl partitions history --step 15min', '']],
    load: async () => (await import('../run/partition-history.ts')).history,
  },
  {
    name: 'partitions policy',
    group: 'Partitions',
    summary: 'Choose how memory is shared, until the daemon ends (root only).',
    about: [
      'For good, set partitions.policy and partitions.mode in /etc/persona/persona.toml. On the way back to `observe` every knob that was set gets its old value, unless another program has set it since.',
    ],
    operands: [
      {
        name: 'POLICY',
        summary: 'Name of the policy: protective, threshold or static.',
        optional: true,
        choices: ['protective', 'threshold', 'static'],
      },
    ],
    flags: [
      {
        name: 'mode',
        value: 'MODE',
        summary: 'Set nothing (observe), or memory.low and memory.high of both sides (manage).',
        choices: ['observe', 'manage'],
      },
    ],
    examples: [
      ['personactl partitions policy --mode manage', ''],
      ['personactl partitions policy threshold', ''],
    ],
    load: async () => (await import('../run/partitions.ts')).policy,
  },
  {
    name: 'partitions set',
    group: 'Partitions',
    summary: 'Set the parts of both sides, until the daemon ends (root only).',
    about: [
      'All of them are percent. The system has what the user does not. `static` keeps the parts as they are set; `threshold` and `protective` begin there, and stay between the bounds.',
      '`partitions replay` takes the same flags, and tries them on a simulated machine.',
      'For good, set partitions.user_percent, least_percent, most_percent, grow_percent, shrink_percent and step_percent in /etc/persona/persona.toml.',
    ],
    operands: [],
    flags: shareFlags,
    examples: [
      ['personactl partitions set --user 60', ''],
      ['personactl partitions set --least 10 --most 90', ''],
    ],
    load: async () => (await import('../run/partitions.ts')).set,
  },
];
