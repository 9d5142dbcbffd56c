import { type Command, changeFlags } from '../command.ts';

/** Commands about fast partitions. */
export const fastCommands = (): readonly Command[] => [
  {
    name: 'fast create',
    group: 'Fast partitions',
    summary: 'Make a small place for data that is to be fast.',
    about: [
      'A fast partition is a folder of yours alone, of a bounded size. What you put there is lost when the machine is restarted, and when the partition is removed: use it for caches, builds and databases that can be made again.',
      'On `ram` it is memory that stays out of swap where the kernel can promise that. Writes that wait for the disk gain most; what is only read is in memory anyway after the first time.',
      'On `zram` it is compressed memory, slower than `ram`: half of its size counts for what you may have. On `nvme` it is an image on the disk of the state folder, all of whose space is set aside: it gains only what a journal costs. With `--volume` the image lies in a volume, takes its space of it, and keeps it from being removed.',
      'With `auto` each is measured for a moment against the disk of the state folder: writes that wait for the disk, and cold reads. The first that is at least twice as fast, and that you may have, is taken; where none is, nothing is made, and that is said with the figures.',
    ],
    operands: [{ name: 'NAME', summary: 'Name of the new fast partition.' }],
    flags: [
      { name: 'size', value: 'SIZE', summary: 'The most that it will hold, such as 512M or 2G.' },
      {
        name: 'on',
        value: 'MEDIUM',
        summary: 'What it lies on.',
        choices: ['ram', 'zram', 'nvme', 'auto'],
      },
      {
        name: 'volume',
        value: 'VOLUME',
        summary: 'On nvme: it lies in this volume; in the one of the system for root only.',
        choices: ['user', 'system'],
      },
      ...changeFlags,
    ],
    required: [['size'], ['on']],
    examples: [
      ['personactl fast create build --size 2G --on ram', ''],
      ['personactl fast create db --size 4G --on nvme --volume user', 'space of the volume "user"'],
    ],
    load: async () => (await import('../run/fast.ts')).create,
  },
  {
    name: 'fast list',
    group: 'Fast partitions',
    summary: 'List fast partitions: yours, or all of them for root.',
    operands: [],
    flags: [],
    examples: [['personactl fast list', '']],
    load: async () => (await import('../run/fast.ts')).list,
  },
  {
    name: 'fast resize',
    group: 'Fast partitions',
    summary: 'Make a fast partition on ram larger or smaller while it is in use.',
    about: [
      'Programs go on working in it, and what it holds stays. A larger one is granted as a new one of that size would be; a smaller one has room for what it holds, or is refused.',
    ],
    operands: [{ name: 'NAME', summary: 'Name of the fast partition.', complete: 'fast' }],
    flags: [
      { name: 'size', value: 'SIZE', summary: 'The most that it will hold from now on.' },
      ...changeFlags,
    ],
    required: [['size']],
    examples: [['personactl fast resize build --size 4G', '']],
    load: async () => (await import('../run/fast.ts')).resize,
  },
  {
    name: 'fast rm',
    group: 'Fast partitions',
    summary: 'Remove a fast partition with all it holds.',
    about: ['Refused while a program is inside; it is named.'],
    operands: [{ name: 'NAME', summary: 'Name of the fast partition.', complete: 'fast' }],
    flags: [...changeFlags],
    examples: [['personactl fast rm build', '']],
    load: async () => (await import('../run/fast.ts')).remove,
  },
];
