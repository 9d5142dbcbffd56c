import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { PersonaError } from '../../ipc/errors.ts';

/** A settings file is written by hand; a larger one is a mistake. */
const fileBytesMax = 256 * 1024;

/** One value as written: where it stands, for the error that speaks of it. */
export interface Written {
  /** `section.key`. */
  key: string;
  value: unknown;
  /** `FILE:LINE`. */
  origin: string;
}

function bad(file: string, reason: string): PersonaError {
  return new PersonaError('bad-config', { file, reason });
}

/** `etc/persona.toml`, then `etc/conf.d/*.toml` in the order of their names: a later one wins. */
export function settingFiles(etc: string): string[] {
  const dropIns = join(etc, 'conf.d');
  const names = list(dropIns).filter((name) => name.endsWith('.toml'));
  const main = list(etc).includes('persona.toml') ? [join(etc, 'persona.toml')] : [];
  return [...main, ...names.sort().map((name) => join(dropIns, name))];
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw bad(folder, `${folder} cannot be read`);
  }
}

/** Whoever may write the settings of a root daemon is root: a file of anyone else is refused. */
function checkOwner(file: string): void {
  const { uid, mode, size } = lstatSync(file);
  if ((mode & 0o170000) !== 0o100000) throw bad(file, `${file} is not a regular file`);
  if (uid !== 0 && uid !== process.getuid?.())
    throw bad(file, `${file} belongs to uid ${uid}, not to root`);
  if ((mode & 0o022) !== 0) throw bad(file, `${file} can be written by others than its owner`);
  if (size > fileBytesMax) throw bad(file, `${file} is larger than ${fileBytesMax} bytes`);
}

/** All values of one file. Throws `bad-config` with file and line. */
export function readFragment(file: string): Written[] {
  checkOwner(file);
  return parseFragment(readFileSync(file, 'utf8'), file);
}

/** The values in `text`: sections of plain keys. Throws `bad-config` with file and line. */
export function parseFragment(text: string, file: string): Written[] {
  const lines = linesOfKeys(text);
  const written: Written[] = [];
  for (const [section, values] of Object.entries(parseToml(text, file))) {
    const at = `${file}:${lines.get(section) ?? 1}`;
    if (typeof values !== 'object' || values === null || Array.isArray(values))
      throw bad(file, `${at}: ${section} stands outside of a section`);
    for (const [name, value] of Object.entries(values)) {
      const key = `${section}.${name}`;
      written.push({ key, value, origin: `${file}:${lines.get(key) ?? lines.get(section) ?? 1}` });
    }
  }
  return written;
}

function parseToml(text: string, file: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw bad(file, `${file}:${error.line}: ${error.message.split('\n')[0]}`);
  }
}

/** The library drops positions, so the lines of sections and keys are found again by their form. */
function linesOfKeys(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  let section = '';
  for (const [index, line] of text.split('\n').entries()) {
    const header = unquoted(/^\s*\[\s*([^\]]+?)\s*\]/.exec(line)?.[1]);
    const key = unquoted(/^\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=/.exec(line)?.[1]);
    if (header !== undefined) section = header;
    const name = header ?? (section === '' ? key : `${section}.${key}`);
    if ((header ?? key) !== undefined && name !== undefined && !lines.has(name))
      lines.set(name, index + 1);
  }
  return lines;
}

const unquoted = (name: string | undefined) => name?.replace(/^["']|["']$/g, '');
