import { type Command, changeFlags, yesFlag } from '../command.ts';

const persona = {
  name: 'PERSONA',
  summary: 'Name or digest of the persona.',
  complete: 'persona',
} as const;

const output = {
  name: 'output',
  short: 'o',
  value: 'FILE',
  summary: 'Where to write the persona file.',
  complete: 'file',
} as const;

const create: Command = {
  name: 'persona create',
  group: 'Personas',
  summary: 'Make a persona from a changed tree of a base.',
  about: [
    'The tree is what the system should look like (a folder, an archive or an image); the daemon works out how it differs from the base. --diff takes a ready difference instead: a layer of a container image (tar), or an image that holds only what differs.',
    'The persona is signed with the key of this machine, imported, and written to the file given with --output.',
  ],
  operands: [{ name: 'NAME', summary: 'Name of the new persona.' }],
  flags: [
    { name: 'base', short: 'b', value: 'BASE', summary: 'The base it changes.', complete: 'base' },
    { name: 'from-tree', value: 'PATH', summary: 'The wanted tree.', complete: 'file' },
    { name: 'diff', value: 'IMAGE', summary: 'The ready difference.', complete: 'file' },
    output,
    {
      name: 'seed',
      value: 'FILE',
      summary: 'Archive with files for a fresh start.',
      complete: 'file',
    },
    {
      name: 'config',
      value: 'FILE',
      summary: 'Runtime configuration: environment and plain files, as JSON.',
      complete: 'file',
    },
    {
      name: 'applications',
      value: 'FILE',
      summary: 'List of applications, one per line.',
      complete: 'file',
    },
    {
      name: 'env',
      short: 'e',
      value: 'NAME=VALUE',
      many: true,
      summary: 'An environment variable of programs in it.',
    },
    { name: 'description', value: 'TEXT', summary: 'What it is for.' },
    { name: 'persona-version', value: 'TEXT', summary: 'Its own version.' },
    yesFlag,
    ...changeFlags,
  ],
  required: [['base'], ['from-tree', 'diff']],
  exclusive: [['no-wait', 'output']],
  examples: [
    ['personactl persona create build --base debian --from-tree ./tree -o build.osp', ''],
    ['personactl persona create game --base debian --diff layer.tar', 'from an OCI layer'],
  ],
  load: async () => (await import('../run/persona-create.ts')).create,
};

/** Commands about personas. */
export const personaCommands = (): readonly Command[] => [
  create,
  {
    name: 'persona import',
    group: 'Personas',
    summary: 'Import a persona file.',
    about: [
      'What no trusted key signed is read in a confined program and rebuilt before the kernel sees it.',
    ],
    operands: [{ name: 'FILE', summary: 'The persona file (.osp).', complete: 'file' }],
    flags: [
      { name: 'name', value: 'NAME', summary: 'Another name than the one in the file.' },
      yesFlag,
      ...changeFlags,
    ],
    examples: [['personactl persona import build.osp', '']],
    load: async () => (await import('../run/persona-import.ts')).importPersona,
  },
  {
    name: 'persona list',
    group: 'Personas',
    summary: 'List the personas.',
    operands: [],
    flags: [],
    examples: [['personactl persona list', '']],
    load: async () => (await import('../run/personas.ts')).list,
  },
  {
    name: 'persona show',
    group: 'Personas',
    summary: 'Show one persona.',
    operands: [persona],
    flags: [],
    examples: [['personactl persona show build', '']],
    load: async () => (await import('../run/personas.ts')).show,
  },
  {
    name: 'persona verify',
    group: 'Personas',
    summary: 'Read a persona again and check its digests and signature.',
    operands: [persona],
    flags: [...changeFlags],
    examples: [['personactl persona verify build', 'exit status 8 when something is wrong']],
    load: async () => (await import('../run/personas.ts')).verify,
  },
  {
    name: 'persona export',
    group: 'Personas',
    summary: 'Write a persona file.',
    about: ['Without -o it is written to PERSONA.osp in the current folder.'],
    operands: [persona],
    flags: [
      output,
      { name: 'original', summary: 'The bytes as they came, not as they were repacked.' },
      { name: 'force', short: 'f', summary: 'Replace the file when it exists.' },
    ],
    examples: [['personactl persona export build -o build.osp', '']],
    load: async () => (await import('../run/persona-export.ts')).exportPersona,
  },
  {
    name: 'persona rm',
    group: 'Personas',
    summary: 'Remove a persona that no slot uses.',
    operands: [persona],
    flags: [...changeFlags],
    examples: [['personactl persona rm build', '']],
    load: async () => (await import('../run/personas.ts')).remove,
  },
  {
    name: 'persona diff',
    group: 'Personas',
    summary: 'List what differs between two personas, or a persona and its base.',
    about: ['With --json: one difference per line, then one line that counts them.'],
    operands: [
      { name: 'A', summary: 'The one before.', complete: 'persona' },
      { name: 'B', summary: 'The one after.', complete: 'persona' },
    ],
    flags: [
      { name: 'under', value: 'PATH', summary: 'Only what lies below this folder.' },
      { name: 'all', short: 'a', summary: 'Also folders of which only the time changed.' },
    ],
    examples: [
      ['personactl persona diff build writing', ''],
      ['personactl persona diff debian build --under /etc', 'what "build" changes in /etc'],
    ],
    load: async () => (await import('../run/persona-diff.ts')).diff,
  },
];
