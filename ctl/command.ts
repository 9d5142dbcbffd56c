import type { Call } from './call.ts';

/** What a value names: decides what completion offers. */
export type Completion =
  | 'base'
  | 'change'
  | 'command'
  | 'fast'
  | 'enclave'
  | 'file'
  | 'folder'
  | 'generation'
  | 'key'
  | 'persona'
  | 'slot';

/** One option. Without `value` it is a switch. */
export interface Flag {
  name: string;
  short?: string;
  /** Name of its value in help. */
  value?: string;
  summary: string;
  /** May be given several times. */
  many?: true;
  choices?: readonly string[];
  complete?: Completion;
}

/** One word after the command. */
export interface Operand {
  name: string;
  summary: string;
  optional?: true;
  choices?: readonly string[];
  complete?: Completion;
}

/** The words that a command passes on as they are. */
export interface Rest {
  name: string;
  summary: string;
  /** They may be left out. */
  optional?: true;
}

/** Does the work of a command. Answers the exit status; nothing means 0. */
export type Run = (call: Call) => Promise<number | undefined>;

/** One command: help, man page, completion and parsing are made from this. */
export interface Command {
  /** As it is typed: "base import". */
  name: string;
  /** Other names for it. */
  aliases?: readonly string[];
  /** Heading in the overview. Absent: not shown there. */
  group?:
    | 'Everyday'
    | 'Slots'
    | 'Personas'
    | 'Bases'
    | 'Changes'
    | 'Partitions'
    | 'Fast partitions'
    | 'Enclaves'
    | 'Applications'
    | 'Machine'
    | 'Tool';
  summary: string;
  /** Paragraphs for help. */
  about?: readonly string[];
  operands: readonly Operand[];
  rest?: Rest;
  flags: readonly Flag[];
  /** Of each list at most one may be given. */
  exclusive?: readonly (readonly string[])[];
  /** Of each list one has to be given. */
  required?: readonly (readonly string[])[];
  examples: readonly (readonly [command: string, meaning: string])[];
  /** Loads the code, only when it is needed. */
  load(): Promise<Run>;
}

/** Options that every command takes. */
export const globalFlags: readonly Flag[] = [
  { name: 'help', short: 'h', summary: 'Show help for the command.' },
  { name: 'json', summary: 'Print JSON with stable fields, errors too.' },
  { name: 'quiet', short: 'q', summary: 'No progress, no remarks, no word about success.' },
  {
    name: 'color',
    value: 'WHEN',
    summary: 'Colours: auto, always or never.',
    choices: ['auto', 'always', 'never'],
  },
];

/** Options of every command that changes something. */
export const changeFlags: readonly Flag[] = [
  { name: 'dry-run', short: 'n', summary: 'Print what would be done, and do nothing.' },
  { name: 'no-wait', summary: 'Answer with the number of the change, do not wait for its end.' },
];

/** What a swap does with programs that run in the slot. */
export const busyFlags: readonly Flag[] = [
  { name: 'wait', summary: 'Wait until programs in the slot have ended.' },
  { name: 'kill', summary: 'End programs in the slot.' },
  { name: 'refuse', summary: 'Do nothing when programs run in the slot.' },
];

/** The word of root for privileged entries. */
export const yesFlag: Flag = {
  name: 'yes',
  short: 'y',
  summary: 'Accept setuid programs, file capabilities and device nodes in it (root only).',
};

/** The flag of a command or of all commands that has this name. */
export function flagOf(command: Command, name: string): Flag | undefined {
  return [...command.flags, ...globalFlags].find((flag) => flag.name === name);
}

/** "[--fresh]", "--from PATH", "[--env NAME=VALUE]...". */
function flagUsage(flag: Flag, needed: boolean): string {
  const word = `--${flag.name}${flag.value === undefined ? '' : ` ${flag.value}`}`;
  return needed ? word : `[${word}]${flag.many ? '...' : ''}`;
}

/** The usage line of a command, without the options that all commands take. */
export function usageOf(command: Command): string {
  const { operands, rest, flags, required = [], exclusive = [] } = command;
  const shown = new Set<string>();
  const inner = (names: readonly string[]): string[] =>
    flags
      .filter(({ name }) => names.includes(name) && !shown.has(name))
      .map((flag) => {
        shown.add(flag.name);
        return flagUsage(flag, true);
      });
  const words = [`personactl ${command.name}`];
  for (const { name, optional } of operands) words.push(optional ? `[${name}]` : name);
  for (const list of required) {
    const choices = inner(list);
    words.push(choices.length > 1 ? `(${choices.join(' | ')})` : choices.join());
  }
  for (const list of exclusive) {
    const choices = inner(list.filter((name) => name !== 'no-wait'));
    if (choices.length > 0) words.push(`[${choices.join(' | ')}]`);
  }
  for (const flag of flags)
    if (!shown.has(flag.name) && !changeFlags.includes(flag)) words.push(flagUsage(flag, false));
  if (rest) words.push(rest.optional ? `[-- ${rest.name}]` : `-- ${rest.name}`);
  return words.join(' ');
}
