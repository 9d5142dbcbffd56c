import { type Command, changeFlags } from '../command.ts';

const base = { name: 'BASE', summary: 'Name or digest of the base.', complete: 'base' } as const;

/** Commands about bases. */
export const baseCommands = (): readonly Command[] => [
  {
    name: 'base import',
    group: 'Bases',
    summary: 'Import an OS root tree as a base.',
    about: [
      'PATH is a folder, a tar archive (plain, gzip, zstd), an OCI image (folder or archive), or an ext4, squashfs, erofs or whole-disk image. A file is sent to the daemon; a folder is read by the daemon for root, and packed and sent for other users.',
      '--host takes the running system itself, without /proc, /sys, /dev, /run, /tmp, /home and other mounts (root only).',
    ],
    operands: [{ name: 'NAME', summary: 'Name of the new base.' }],
    flags: [
      { name: 'from', value: 'PATH', summary: 'What to import.', complete: 'file' },
      { name: 'host', summary: 'Import the running system.' },
      { name: 'partition', value: 'N', summary: 'The partition of a disk image, from 1.' },
      ...changeFlags,
    ],
    required: [['from', 'host']],
    exclusive: [['host', 'partition']],
    examples: [
      ['personactl base import debian --from debian.tar.zst', ''],
      ['personactl base import here --host', 'the running system as a base'],
    ],
    load: async () => (await import('../run/base-import.ts')).importBase,
  },
  {
    name: 'base list',
    group: 'Bases',
    summary: 'List the bases.',
    operands: [],
    flags: [],
    examples: [['personactl base list', '']],
    load: async () => (await import('../run/bases.ts')).list,
  },
  {
    name: 'base show',
    group: 'Bases',
    summary: 'Show one base.',
    operands: [base],
    flags: [],
    examples: [['personactl base show debian', '']],
    load: async () => (await import('../run/bases.ts')).show,
  },
  {
    name: 'base rm',
    group: 'Bases',
    summary: 'Remove a base that nothing uses.',
    operands: [base],
    flags: [...changeFlags],
    examples: [['personactl base rm debian', '']],
    load: async () => (await import('../run/bases.ts')).remove,
  },
];
