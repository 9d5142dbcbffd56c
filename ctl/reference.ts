import { exitStatus } from '../ipc/errors.ts';
import { type Command, type Flag, globalFlags, usageOf } from './command.ts';

/** A name with what it means. */
export type Term = readonly [term: string, meaning: string];

/** Everything that help and manual say about a command. */
export interface Description {
  usage: string;
  paragraphs: readonly string[];
  words: readonly Term[];
  options: readonly Term[];
  examples: readonly Term[];
}

/** "-n, --dry-run", "    --to N". */
function flagTerm({ name, short, value, choices, summary, many }: Flag): Term {
  const word = `${short ? `-${short}, ` : '    '}--${name}${value ? ` ${value}` : ''}`;
  const notes = [
    ...(choices ? [`one of ${choices.join(', ')}`] : []),
    ...(many ? ['may be repeated'] : []),
  ];
  return [word, notes.length > 0 ? `${summary} (${notes.join('; ')})` : summary];
}

/** What there is to say about a command. */
export function describe(command: Command): Description {
  const { about = [], aliases = [], operands, rest, flags, examples } = command;
  const also = aliases.map((alias) => `\`personactl ${alias}\``).join(', ');
  return {
    usage: usageOf(command),
    paragraphs: [...about, ...(also ? [`Also: ${also}.`] : [])],
    words: [
      ...operands.map(({ name, summary }): Term => [name, summary]),
      ...(rest ? [[rest.name, rest.summary] as const] : []),
    ],
    options: flags.map(flagTerm),
    examples,
  };
}

/** The options of every command. */
export const globalOptions: readonly Term[] = globalFlags.map(flagTerm);

const statusMeaning: Record<keyof typeof exitStatus, string> = {
  ok: 'It is done.',
  failure: 'It failed.',
  usage: 'The command line or a value in it is wrong.',
  notRunning: 'The daemon does not run, or went away.',
  notFound: 'There is no such thing.',
  denied: 'Not allowed for this user, or not trusted.',
  conflict: 'In use, busy, existing already, or no space.',
  timedOut: 'It took too long.',
  integrity: 'Data is damaged or not what it claims to be.',
};

/** Exit statuses of the tool, from the table that errors use. */
export const exitStatuses: readonly Term[] = [
  ...Object.entries(exitStatus).map(([name, status]): Term => {
    return [String(status), statusMeaning[name as keyof typeof exitStatus]];
  }),
  ['125', 'exec, run: the program could not be started.'],
  ['126', 'exec, run: the program cannot be executed.'],
  ['127', 'exec, run: there is no such program (exec: in the slot).'],
  ['128+N', 'exec: signal N ended the program.'],
  [
    '130',
    'Ctrl-C: the tool stopped watching, and a change goes on; a file that was being written is gone.',
  ],
];

/** Variables that the tool looks at. */
export const environment: readonly Term[] = [
  [
    'PERSONA_ROOT',
    'Folder of a private state tree; its daemon is used instead of the one of the machine.',
  ],
  ['NO_COLOR', 'No colours.'],
  ['FORCE_COLOR', 'Colours also where the output is no terminal; 0: none.'],
];
