import { parseArgs } from 'node:util';
import { type Command, type Flag, flagOf, globalFlags } from './command.ts';
import { commandsUnder, findCommand } from './commands.ts';
import { nearest, nearestCommand } from './suggestion.ts';
import { usageError } from './usage-error.ts';

/** A command line that was understood. */
export interface Parsed {
  command: Command;
  operands: Record<string, string>;
  /** Values of options by name; switches are `true`. */
  flags: Record<string, string | true | string[]>;
  rest: string[];
}

/** The words of a line before `--` that are not options, with their places. */
function plainWords(argv: readonly string[]): { word: string; at: number }[] {
  const words: { word: string; at: number }[] = [];
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    if (word === '--') break;
    if (word === '--color') at += 1;
    else if (!word.startsWith('-')) words.push({ word, at });
  }
  return words;
}

/** True when an option that all commands take is among the words before `--`. */
export function hasGlobal(argv: readonly string[], name: string, short?: string): boolean {
  const end = argv.indexOf('--');
  const before = end < 0 ? argv : argv.slice(0, end);
  return before.includes(`--${name}`) || (short !== undefined && before.includes(`-${short}`));
}

/** The first word of several commands, when it is the only word of the line. */
export function groupOf(argv: readonly string[]): string | undefined {
  const [first, ...others] = plainWords(argv).map(({ word }) => word);
  if (first === undefined || others.length > 0 || findCommand([first])) return undefined;
  return commandsUnder(first).length > 0 ? first : undefined;
}

/**
 * Finds the command in a line and the words that are left for it. Throws `bad-usage` with what was
 * probably meant. Undefined: the line names no command at all.
 */
export function splitCommand(
  argv: readonly string[],
): { command: Command; rest: string[] } | undefined {
  const words = plainWords(argv);
  if (words.length === 0) return undefined;
  const typed = words.slice(0, 2).map(({ word }) => word);
  const found = findCommand(typed);
  if (found) {
    const places = new Set(words.slice(0, found.used).map(({ at }) => at));
    return { command: found.command, rest: argv.filter((_, at) => !places.has(at)) };
  }
  const [first = '', second] = typed;
  const under = commandsUnder(first);
  const meant = nearestCommand(typed);
  if (under.length > 0 && (second === undefined || meant === undefined)) {
    const verbs = under.map(({ name }) => name.slice(first.length + 1)).join(', ');
    const said = second === undefined ? 'needs a second word' : `has no command "${second}"`;
    throw usageError(`"personactl ${first}" ${said}`, first, `One of: ${verbs}.`);
  }
  const said = under.length > 0 ? `${first} ${second}` : first;
  throw usageError(
    `there is no command "${said}"`,
    '',
    meant === undefined
      ? '`personactl help` lists the commands.'
      : `Did you mean \`personactl ${meant}\`?`,
  );
}

/** The words as options, operands and `--`. */
function tokensOf(command: Command, argv: readonly string[]) {
  // Nothing to read: nothing to load and set up, either.
  if (argv.length === 0) return [];
  const known: readonly Flag[] = [...command.flags, ...globalFlags];
  const options = known.map(({ name, short, value, many }) => [
    name,
    {
      type: value === undefined ? ('boolean' as const) : ('string' as const),
      multiple: many === true,
      ...(short === undefined ? {} : { short }),
    },
  ]);
  const settings = { strict: false, tokens: true, allowPositionals: true } as const;
  return parseArgs({ ...settings, args: [...argv], options: Object.fromEntries(options) }).tokens;
}

/** Reads the options and operands of a command. Throws `bad-usage`. */
export function parseCommand(command: Command, argv: readonly string[]): Parsed {
  const parsed: Parsed = { command, operands: {}, flags: {}, rest: [] };
  let count = 0;
  for (const token of tokensOf(command, argv)) {
    if (token.kind === 'option') {
      takeFlag(parsed, token);
    } else if (token.kind === 'option-terminator') {
      // For a command that runs others, all that follows is theirs.
      if (!command.rest) continue;
      parsed.rest = argv.slice(token.index + 1);
      break;
    } else if (command.rest && count === command.operands.length) {
      parsed.rest = argv.slice(token.index);
      break;
    } else {
      takeOperand(parsed, token.value, count);
      count += 1;
    }
  }
  if (!hasFlag(parsed, 'help')) checkComplete(parsed, count);
  return parsed;
}

const hasFlag = ({ flags }: Parsed, name: string) => flags[name] !== undefined;

function takeFlag(
  { command, flags }: Parsed,
  token: {
    name: string;
    rawName: string;
    value?: string | undefined;
    inlineValue?: boolean | undefined;
  },
): void {
  const flag = flagOf(command, token.name);
  if (flag === undefined) {
    const names = [...command.flags, ...globalFlags].map(({ name }) => `--${name}`);
    const meant = token.rawName.startsWith('--') ? nearest(token.rawName, names) : undefined;
    const hint = meant === undefined ? undefined : `Did you mean ${meant}?`;
    throw usageError(`"${command.name}" has no option ${token.rawName}`, command.name, hint);
  }
  if (flag.value === undefined) {
    if (token.value !== undefined) throw usageError(`--${flag.name} takes no value`, command.name);
    flags[flag.name] = true;
    return;
  }
  const { value } = token;
  if (value === undefined || (token.inlineValue !== true && /^-./.test(value)))
    throw usageError(`--${flag.name} needs a value: ${flag.value}`, command.name);
  if (value === '' && flag.complete !== undefined)
    throw usageError(`--${flag.name} cannot be empty`, command.name);
  if (flag.choices && !flag.choices.includes(value)) {
    const reason = `--${flag.name} cannot be "${value}"`;
    throw usageError(reason, command.name, `One of: ${flag.choices.join(', ')}.`);
  }
  const before = flags[flag.name];
  if (flag.many) flags[flag.name] = [...(Array.isArray(before) ? before : []), value];
  else if (before !== undefined) throw usageError(`--${flag.name} is given twice`, command.name);
  else flags[flag.name] = value;
}

function takeOperand({ command, operands }: Parsed, value: string, at: number): void {
  const operand = command.operands[at];
  if (operand === undefined) {
    const reason = `"${command.name}" does not take another word: "${value}"`;
    throw usageError(reason, command.name);
  }
  if (value === '') throw usageError(`${operand.name} cannot be empty`, command.name);
  if (operand.choices && !operand.choices.includes(value)) {
    const reason = `${operand.name} cannot be "${value}"`;
    throw usageError(reason, command.name, `One of: ${operand.choices.join(', ')}.`);
  }
  operands[operand.name] = value;
}

function checkComplete(parsed: Parsed, count: number): void {
  const { command, rest } = parsed;
  const missing = command.operands[count];
  if (missing && !missing.optional)
    throw usageError(`"${command.name}" needs ${missing.name}: ${missing.summary}`, command.name);
  if (command.rest && !command.rest.optional && rest.length === 0 && !command.name.startsWith('_'))
    throw usageError(`"${command.name}" needs ${command.rest.name}`, command.name);
  const spelled = (names: readonly string[]) => names.map((name) => `--${name}`).join(' or ');
  const given = (names: readonly string[]) => names.filter((name) => hasFlag(parsed, name));
  for (const names of command.required ?? [])
    if (given(names).length === 0)
      throw usageError(`"${command.name}" needs ${spelled(names)}`, command.name);
  for (const names of [...(command.required ?? []), ...(command.exclusive ?? [])]) {
    const [one, other] = given(names);
    if (one !== undefined && other !== undefined)
      throw usageError(`--${one} and --${other} exclude one another`, command.name);
  }
}
