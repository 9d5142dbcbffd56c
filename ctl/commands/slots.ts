import { busyFlags, type Command, changeFlags } from '../command.ts';
import { grantFlags } from './grants.ts';

const slot = { name: 'SLOT', summary: 'Name of the slot.', complete: 'slot' } as const;
const busy = ['wait', 'kill', 'refuse'];

/** Commands about slots and what is active in them. */
export const slotCommands = (): readonly Command[] => [
  {
    name: 'swap',
    group: 'Everyday',
    summary: 'Make a persona active in a slot.',
    about: [
      'Replaces what is active in the slot, without a moment in which its folder is empty. The persona goes on from the state in which it was left in this slot, unless --fresh is given.',
      'Programs that run in the slot keep the old tree until they end; --wait, --kill and --refuse choose otherwise.',
    ],
    operands: [
      slot,
      { name: 'PERSONA', summary: 'Name or digest of the persona.', complete: 'persona' },
    ],
    flags: [
      { name: 'fresh', summary: 'Start from the persona as it was made, without its state here.' },
      ...busyFlags,
      ...changeFlags,
    ],
    exclusive: [busy],
    examples: [
      ['personactl swap desk writing', 'make "writing" active in the slot "desk"'],
      ['personactl swap desk build --fresh', 'the same from a clean start'],
    ],
    load: async () => (await import('../run/swap.ts')).swap,
  },
  {
    name: 'rollback',
    group: 'Everyday',
    summary: 'Go back to an earlier generation of a slot.',
    about: [
      'Without an option: to the last good generation before the active one; a second time: one further back.',
    ],
    operands: [slot],
    flags: [
      {
        name: 'to',
        value: 'N',
        summary: 'Go back to generation N; `personactl history SLOT` lists them.',
        complete: 'generation',
      },
      { name: 'base', summary: 'Go back to the clean base.' },
      ...busyFlags,
      ...changeFlags,
    ],
    exclusive: [['to', 'base'], busy],
    examples: [
      ['personactl rollback desk', 'undo the last swap'],
      ['personactl rollback desk --to 3', 'go back to generation 3'],
    ],
    load: async () => (await import('../run/swap.ts')).rollback,
  },
  {
    name: 'history',
    group: 'Everyday',
    summary: 'List the generations of a slot.',
    operands: [slot],
    flags: [{ name: 'limit', value: 'N', summary: 'At most N of them.' }],
    examples: [['personactl history desk', 'what was active in "desk", the newest first']],
    load: async () => (await import('../run/slots.ts')).history,
  },
  {
    name: 'exec',
    aliases: ['shell'],
    group: 'Everyday',
    summary: 'Run a program in a slot.',
    about: [
      'The program runs as the calling user, in a sandbox of its own: it sees the tree of the slot, but no home folder, network, display, sound or bus unless they are granted. Without a command a shell is started.',
      'The exit status is that of the program: 128+N when signal N ended it. 125: it could not be started; 126: it cannot be executed; 127: there is no such program in the slot.',
    ],
    operands: [slot],
    rest: { name: 'COMMAND [ARGUMENT...]', summary: 'The program to run.', optional: true },
    flags: [
      ...grantFlags,
      { name: 'home', summary: 'Grant the home folder.' },
      { name: 'root', summary: 'Act as root inside, in a user namespace.' },
      { name: 'folder', short: 'C', value: 'PATH', summary: 'Working folder inside the slot.' },
    ],
    examples: [
      ['personactl exec desk -- make -j4', 'run make in "desk"'],
      ['personactl exec desk --net --home', 'a shell with network and home'],
    ],
    load: async () => (await import('../run/exec.ts')).exec,
  },
  {
    name: 'slot create',
    group: 'Slots',
    summary: 'Make a slot.',
    operands: [{ name: 'NAME', summary: 'Name of the new slot.' }],
    flags: [
      { name: 'ephemeral', summary: 'What is written in it is thrown away at the next swap.' },
      {
        name: 'volume',
        value: 'VOLUME',
        summary:
          'What is written in it lies in this volume; in the one of the system for root only.',
        choices: ['user', 'system'],
      },
      { name: 'owner', value: 'USER', summary: 'Its owner: a name or uid (root only).' },
      ...changeFlags,
    ],
    examples: [
      ['personactl slot create desk', 'a slot "desk" of the calling user'],
      ['personactl slot create desk --volume user', 'what is written in it has space set aside'],
    ],
    load: async () => (await import('../run/slots.ts')).create,
  },
  {
    name: 'slot list',
    group: 'Slots',
    summary: 'List the slots.',
    operands: [],
    flags: [],
    examples: [['personactl slot list --json', 'for programs']],
    load: async () => (await import('../run/slots.ts')).list,
  },
  {
    name: 'slot show',
    group: 'Slots',
    summary: 'Show one slot: what is active, who is inside, what still drains.',
    operands: [slot],
    flags: [],
    examples: [['personactl slot show desk', '']],
    load: async () => (await import('../run/slots.ts')).show,
  },
  {
    name: 'slot move',
    group: 'Slots',
    summary: 'Move what is written in a slot into a volume, or back.',
    about: [
      'The slot goes on showing what it shows; until it shows the copy it cannot be written to. Refused while programs are inside, unless --wait or --kill says otherwise. When it is cut off, all of it lies at the old place, or all at the new one.',
    ],
    operands: [slot],
    flags: [
      {
        name: 'to',
        value: 'PLACE',
        summary: 'A volume (that of the system for root only), or the state tree.',
        choices: ['user', 'system', 'state'],
      },
      ...busyFlags,
      ...changeFlags,
    ],
    required: [['to']],
    exclusive: [busy],
    examples: [['personactl slot move desk --to user', 'into the volume "user"']],
    load: async () => (await import('../run/slots.ts')).move,
  },
  {
    name: 'slot rm',
    group: 'Slots',
    summary: 'Remove a slot with its history and what was written in it.',
    operands: [slot],
    flags: [
      { name: 'discard', summary: 'Also when something was written in it.' },
      ...busyFlags,
      ...changeFlags,
    ],
    exclusive: [busy],
    examples: [['personactl slot rm desk --discard', 'remove it with all that was written']],
    load: async () => (await import('../run/slots.ts')).remove,
  },
];
