import { type Command, changeFlags } from '../command.ts';

const volume = {
  name: 'VOLUME',
  summary: 'Which of the two.',
  choices: ['user', 'system'],
} as const;

/** Commands about volumes: space of the disk that is set aside. */
export const volumeCommands = (): readonly Command[] => [
  {
    name: 'volume create',
    group: 'Partitions',
    summary: 'Set space of the disk aside as a volume (root only).',
    about: [
      'A volume is a file system of its own in an image on the file system of the state tree, which owns every one of its blocks: when the disk fills up, what is written in the volume still goes on. It is seen at /run/persona/volumes/VOLUME, at first only root can write there.',
      'It can be made larger and smaller later, while it is in use, up to its limit. Its tables are made for the limit, one part in 128 of it, so a limit far beyond the size wastes space.',
    ],
    operands: [volume],
    flags: [
      { name: 'size', value: 'SIZE', summary: 'How much: 20G, 512M.' },
      {
        name: 'limit',
        value: 'SIZE',
        summary: 'How large it may become: at most 16 times its size (4 times, or the whole disk).',
      },
      ...changeFlags,
    ],
    required: [['size']],
    examples: [['personactl volume create user --size 20G', '']],
    load: async () => (await import('../run/volumes.ts')).create,
  },
  {
    name: 'volume list',
    group: 'Partitions',
    summary: 'List the volumes (root only).',
    about: [
      'With `volumes.govern = "on"` in the settings the policy that shares memory also moves space between the two volumes, by the same thresholds: one that is fuller than 80 % gets a tenth of both together from the other, where that has more than it needs. `partitions explain` says why; each move is a change.',
    ],
    operands: [],
    flags: [],
    examples: [['personactl volume list', '']],
    load: async () => (await import('../run/volumes.ts')).list,
  },
  {
    name: 'volume show',
    group: 'Partitions',
    summary: 'Show one volume: its space, and whether it owns its blocks (root only).',
    operands: [volume],
    flags: [],
    examples: [['personactl volume show user', '']],
    load: async () => (await import('../run/volumes.ts')).show,
  },
  {
    name: 'volume resize',
    group: 'Partitions',
    summary: 'Make a volume larger or smaller while it is in use (root only).',
    about: [
      'What it gains is set aside on the disk before the volume may use it; what it gives back was free in it, and goes to the disk at once. No data is moved, and programs go on writing. Its size includes its own tables.',
    ],
    operands: [volume, { name: 'SIZE', summary: 'Its new size: 40G, 512M.' }],
    flags: [...changeFlags],
    examples: [
      ['personactl volume resize user 40G', ''],
      ['personactl volume resize user 40G --dry-run', 'the steps'],
    ],
    load: async () => (await import('../run/volumes.ts')).resize,
  },
  {
    name: 'volume rm',
    group: 'Partitions',
    summary: 'Remove a volume with all that lies in it (root only).',
    operands: [volume],
    flags: [{ name: 'discard', summary: 'Also when something lies in it.' }, ...changeFlags],
    examples: [['personactl volume rm user --discard', 'remove it with what lies in it']],
    load: async () => (await import('../run/volumes.ts')).remove,
  },
];
