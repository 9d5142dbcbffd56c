import type { Command } from './command.ts';
import { commands } from './commands.ts';
import { describe, environment, exitStatuses, globalOptions, type Term } from './reference.ts';

/** Text for roff: backslashes, leading dots and hyphens keep their meaning. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/`([^`]*)`/g, '\\fB$1\\fR')
    .replace(/^(['.])/gm, '\\&$1');
}

const terms = (list: readonly Term[]): string[] =>
  list.flatMap(([term, meaning]) => ['.TP', `.B ${roff(term.trim())}`, roff(meaning)]);

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`.SH ${title}`, ...lines];

const head = (page: string, version: string): string =>
  `.TH ${roff(page.toUpperCase())} 1 "" "personad ${roff(version)}" "personad"`;

/** Name of the page of a command: "personactl-base-import". */
export function pageName(command: Command): string {
  return `personactl-${command.name.replaceAll(' ', '-')}`;
}

/** The manual page of one command. */
export function commandPage(command: Command, version: string): string {
  const { usage, paragraphs, words, options, examples } = describe(command);
  const sample = examples.flatMap(([line, meaning]) => [
    '.PP',
    roff(meaning),
    '.PP',
    '.RS 4',
    `.B ${roff(line)}`,
    '.RE',
  ]);
  return `${[
    head(pageName(command), version),
    ...section('NAME', [`${roff(pageName(command))} \\- ${roff(command.summary)}`]),
    ...section('SYNOPSIS', [`.B ${roff(usage)}`]),
    ...section(
      'DESCRIPTION',
      [command.summary, ...paragraphs].flatMap((text) => ['.PP', roff(text)]),
    ),
    ...section('WORDS', terms(words)),
    ...section('OPTIONS', terms(options)),
    ...section('OPTIONS OF EVERY COMMAND', terms(globalOptions)),
    ...section(
      'EXAMPLES',
      sample.filter((line) => line !== ''),
    ),
    ...section('EXIT STATUS', terms(exitStatuses)),
    ...section('SEE ALSO', ['.BR personactl (1)']),
  ].join('\n')}\n`;
}

/** The manual page of the tool. */
export function overviewPage(version: string): string {
  const shown = commands().filter(({ group }) => group !== undefined);
  return `${[
    head('personactl', version),
    ...section('NAME', ['personactl \\- swap complete OS personas on a workstation']),
    ...section('SYNOPSIS', ['.B personactl COMMAND [WORDS] [OPTIONS]']),
    ...section('COMMANDS', terms(shown.map(({ name, summary }) => [name, summary]))),
    ...section('OPTIONS OF EVERY COMMAND', terms(globalOptions)),
    ...section('EXIT STATUS', terms(exitStatuses)),
    ...section('ENVIRONMENT', terms(environment)),
    ...section(
      'SEE ALSO',
      shown.map((command) => `.BR ${roff(pageName(command))} (1)`),
    ),
  ].join('\n')}\n`;
}

/** All manual pages: file name -> text. */
export function manualPages(version: string): Map<string, string> {
  const shown = commands().filter(({ group }) => group !== undefined);
  return new Map([
    ['personactl.1', overviewPage(version)],
    ...shown.map((one) => [`${pageName(one)}.1`, commandPage(one, version)] as const),
  ]);
}
