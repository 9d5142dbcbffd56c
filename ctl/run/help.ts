import type { Call } from '../call.ts';
import type { Command } from '../command.ts';
import { commands, commandsUnder } from '../commands.ts';
import { splitCommand } from '../parse.ts';
import { indented } from '../print/columns.ts';
import { padded, type Safe, safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { wrapped } from '../print/wrap.ts';
import { describe, environment, exitStatuses, globalOptions, type Term } from '../reference.ts';

const empty = safe('');
/** Lines longer than this are hard to read. */
const textColumnsMax = 96;
/** A term longer than this gets a line of its own. */
const termColumnsMax = 26;

function termLines(terms: readonly Term[], width: number, style: Style): Safe[] {
  const fitting = terms.map(([term]) => term.length).filter((length) => length <= termColumnsMax);
  const column = Math.max(0, ...fitting);
  return terms.flatMap(([term, meaning]) => {
    const lines = wrapped(meaning, Math.max(30, width - column - 4));
    const own = term.length > column;
    const head = own ? [style.bold(term)] : [];
    const rest = own ? lines : lines.slice(1);
    const first = own
      ? []
      : [
          meaning === ''
            ? style.bold(term)
            : say`${style.bold(padded(term, column))}  ${lines[0] ?? ''}`,
        ];
    return indented([
      ...head,
      ...first,
      ...rest.map((line) => say`${padded('', column)}  ${line}`),
    ]);
  });
}

function section(title: string, lines: readonly Safe[], style: Style): Safe[] {
  return lines.length === 0 ? [] : [empty, style.bold(title), ...lines];
}

function commandLines(command: Command, width: number, style: Style): Safe[] {
  const { usage, paragraphs, words, options, examples } = describe(command);
  const [first = '', ...more] = wrapped(usage, width - 11);
  return [
    safe(command.summary),
    empty,
    say`${style.bold('Usage:')} ${first}`,
    ...more.map((line) => say`           ${line}`),
    ...paragraphs.flatMap((text) => [empty, ...wrapped(text, width).map(safe)]),
    ...section('Words', termLines(words, width, style), style),
    ...section('Options', termLines(options, width, style), style),
    ...section('Options of every command', termLines(globalOptions, width, style), style),
    ...section('Examples', termLines(examples, width, style), style),
  ];
}

/** Commands as a list of names with one sentence each. */
function listLines(list: readonly Command[], width: number, style: Style): Safe[] {
  const terms = list.map(({ name, summary }): Term => [name, summary]);
  return termLines(terms, width, style);
}

function overviewLines(width: number, style: Style): Safe[] {
  const groups = [
    'Everyday',
    'Slots',
    'Personas',
    'Bases',
    'Changes',
    'Partitions',
    'Fast partitions',
    'Enclaves',
    'Applications',
    'Machine',
    'Tool',
  ] as const;
  return [
    say`${style.bold('personactl')} swaps what this workstation is: complete system trees, in milliseconds.`,
    empty,
    say`${style.bold('Usage:')} personactl COMMAND [WORDS] [OPTIONS]`,
    ...groups.flatMap((group) =>
      section(
        group,
        listLines(
          commands().filter((one) => one.group === group),
          width,
          style,
        ),
        style,
      ),
    ),
    empty,
    safe('`personactl help COMMAND` says more; `personactl help exit` lists the exit statuses.'),
  ];
}

const widthOf = (call: Call) => Math.min(call.out.columns, textColumnsMax);

const asJson = (command: Command) => ({
  name: command.name,
  summary: command.summary,
  ...describe(command),
});

/** Prints the help of one command. */
export function printHelp(call: Call, command: Command): void {
  call.out.result({ command: asJson(command) }, () =>
    commandLines(command, widthOf(call), call.out.style),
  );
}

const topics: Readonly<Record<string, readonly [title: string, terms: readonly Term[]]>> = {
  exit: ['Exit statuses', exitStatuses],
  environment: ['Environment', environment],
};

/** `personactl help [COMMAND [SUBCOMMAND]]` */
export async function help(call: Call): Promise<undefined> {
  const words = ['COMMAND', 'SUBCOMMAND']
    .flatMap((name) => call.given(name)?.split(' ') ?? [])
    .filter((word) => word !== '');
  const { style } = call.out;
  const [first] = words;
  if (first === undefined) {
    const shown = commands().filter(({ group }) => group !== undefined);
    call.out.result({ commands: shown.map(asJson) }, () => overviewLines(widthOf(call), style));
    return;
  }
  const topic = Object.hasOwn(topics, first) ? topics[first] : undefined;
  if (topic) {
    const [title, terms] = topic;
    call.out.result({ [first]: Object.fromEntries(terms) }, () => [
      style.bold(title),
      ...termLines(terms, widthOf(call), style),
    ]);
    return;
  }
  const under = commandsUnder(first);
  if (words.length === 1 && under.length > 0) {
    call.out.result({ commands: under.map(asJson) }, () => [
      style.bold(`personactl ${first}`),
      ...listLines(under, widthOf(call), style),
    ]);
    return;
  }
  const found = splitCommand(words);
  if (found) printHelp(call, found.command);
}
