import { createHash } from 'node:crypto';
import { launchWords } from './hooked.ts';

const sourceKey = 'X-Persona-Source';
const digestKey = 'X-Persona-Digest';
const closedKey = 'X-Persona-Closed';
const mainGroup = '[Desktop Entry]';

/** What an entry is made to start through. */
export interface Hook {
  /** The id of the application: one plain word. */
  app: string;
  /** Absolute path of the launcher: letters, digits and `/._+-` only. */
  launcher: string;
  /** Where the entry was read. */
  source: string;
  /** It starts apart or not at all. */
  closed?: true | undefined;
}

/** The shell is there for the day on which the launcher is not: the application starts without it then, where desktops would hide the entry. */
const openScript = ({ app, launcher }: Hook): string =>
  `[ -x ${launcher} ] && exec ${launcher} ${launchWords({ app })} "$@"; exec "$@"`;

/** What starts apart or not at all does neither: and since nobody sees what a menu's program says, a message tells so where desktops show one. */
const closedScript = ({ app, launcher }: Hook): string =>
  [
    `if [ -x ${launcher} ]; then ${launcher} ${launchWords({ app, closed: true })} "$@"; s=$?`,
    `else echo '${launcher} is gone: install personad again' >&2; s=125; fi`,
    `[ $s = 125 ] && command -v notify-send >/dev/null && notify-send '${app} was not started' 'It is to run apart, and cannot now. In a terminal: personactl app explain ${app}'`,
    'exit $s',
  ].join('; ');

/** The words before the command of an entry. The shell is given the command as words and reads none of it. */
function before(hook: Hook): string {
  const script = hook.closed ? closedScript(hook) : openScript(hook);
  // As entries are quoted: two backslashes stand for one.
  return `/bin/sh -c "${script.replaceAll(/["$]/g, '\\\\$&')}" sh `;
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/**
 * The same entry, started through the launcher: its main command and those of its actions. Undefined for an entry that starts no
 * program. The command itself stays as it is, byte by byte.
 */
export function hookEntry(text: string, hook: Hook): string | undefined {
  const lines = text.replaceAll('\r\n', '\n').replace(/\n*$/, '').split('\n');
  const at = lines.findIndex((line) => line.trim() === mainGroup);
  const end = lines.findIndex((line, index) => index > at && line.startsWith('['));
  const main = lines.slice(at + 1, end < 0 ? undefined : end);
  const has = (pattern: RegExp) => main.some((line) => pattern.test(line));
  if (at < 0 || !has(/^Type\s*=\s*Application\s*$/) || !has(/^Exec\s*=\s*\S/)) return undefined;
  const changed = lines.map((line) => {
    // Started over the bus a program has its command elsewhere.
    if (/^DBusActivatable\s*=/.test(line)) return 'DBusActivatable=false';
    const command = /^Exec\s*=\s*(.*)$/s.exec(line)?.[1];
    return command === undefined ? line : `Exec=${before(hook)}${command}`;
  });
  const closed = hook.closed ? [`${closedKey}=true`] : [];
  changed.splice(at + 1, 0, `${sourceKey}=${hook.source}`, ...closed);
  const whole = `${changed.join('\n')}\n`;
  changed.splice(at + 2, 0, `${digestKey}=${digestOf(whole)}`);
  return `${changed.join('\n')}\n`;
}

/** What an entry is: none of ours, ours as it was written, or ours that somebody has edited since. */
export function hookOf(
  text: string,
): { source: string; intact: boolean; closed?: true } | undefined {
  const lines = text.split('\n');
  const textOf = (key: string) =>
    lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1);
  const [source, digest] = [textOf(sourceKey), textOf(digestKey)];
  if (source === undefined || digest === undefined) return undefined;
  const rest = lines.filter((line) => !line.startsWith(`${digestKey}=`)).join('\n');
  const closed = textOf(closedKey) === 'true';
  return { source, intact: digestOf(rest) === digest, ...(closed && { closed }) };
}
