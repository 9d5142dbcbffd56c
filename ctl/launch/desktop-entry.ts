import { createHash } from 'node:crypto';

const sourceKey = 'X-Persona-Source';
const digestKey = 'X-Persona-Digest';
const mainGroup = '[Desktop Entry]';

/** What an entry is made to start through. */
export interface Hook {
  /** The id of the application: one plain word. */
  app: string;
  /** Absolute path of the launcher: letters, digits and `/._+-` only. */
  launcher: string;
  /** Where the entry was read. */
  source: string;
}

/**
 * The words before the command of an entry. The shell is given the command as words and reads none of it; it is there for the
 * day on which the launcher is not: the application starts without it then, where desktops would hide the entry. Quoted as
 * entries are: two backslashes stand for one.
 */
const before = ({ app, launcher }: Hook): string =>
  `/bin/sh -c "[ -x ${launcher} ] && exec ${launcher} ${app} -- \\\\"\\\\$@\\\\"; exec \\\\"\\\\$@\\\\"" sh `;

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
  changed.splice(at + 1, 0, `${sourceKey}=${hook.source}`);
  const whole = `${changed.join('\n')}\n`;
  changed.splice(at + 2, 0, `${digestKey}=${digestOf(whole)}`);
  return `${changed.join('\n')}\n`;
}

/** What an entry is: none of ours, ours as it was written, or ours that somebody has edited since. */
export function hookOf(text: string): { source: string; intact: boolean } | undefined {
  const lines = text.split('\n');
  const textOf = (key: string) =>
    lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1);
  const [source, digest] = [textOf(sourceKey), textOf(digestKey)];
  if (source === undefined || digest === undefined) return undefined;
  const rest = lines.filter((line) => !line.startsWith(`${digestKey}=`)).join('\n');
  return { source, intact: digestOf(rest) === digest };
}
