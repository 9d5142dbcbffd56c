import { applicationIdPattern } from '../application.ts';
import { BadFact, checkFact } from '../fact-values.ts';
import { type Found, isRemark, type SourceText, type Values } from '../fragment.ts';
import { programOf, wordsOfExec } from './exec-line.ts';

/** What a desktop entry says is what its package installs. */
const confidence = 0.9;

/** A desktop entry as it was understood; `program` is a path or a name that is looked for later. */
export interface DesktopFound extends Found {
  program?: string;
}

/** The keys of `[Desktop Entry]` that count here, each with its line. */
function keysOf(text: string): Map<string, { value: string; line: number }> {
  const keys = new Map<string, { value: string; line: number }>();
  let inside = false;
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\[(.*)\]\s*$/.exec(line)?.[1];
    if (header !== undefined) inside = header === 'Desktop Entry';
    if (!inside || header !== undefined || isRemark(line)) continue;
    const [, key, value = ''] = /^([A-Za-z0-9-]+)\s*=\s*(.*?)\s*$/s.exec(line) ?? [];
    if (key !== undefined && !keys.has(key)) keys.set(key, { value, line: index + 1 });
  }
  return keys;
}

/**
 * Understands an installed desktop entry: the identity of an application. `id` is its path below the folder of entries, with
 * `-` for `/`, without `.desktop`. Entries of another type or that are hidden give nothing. Pure.
 */
export function parseDesktopEntry({ file, text, dateMs }: SourceText, id: string): DesktopFound {
  const keys = keysOf(text);
  const found: DesktopFound = { fragments: [], problems: [] };
  const refuse = (key: string, reason: string): void => {
    const line = keys.get(key)?.line;
    found.problems.push({ from: line === undefined ? file : `${file}:${line}`, text: reason });
  };
  if (keys.get('Type')?.value !== 'Application') {
    if (!keys.has('Type')) refuse('Type', 'it is no desktop entry: it has no Type');
    return found;
  }
  if (keys.get('Hidden')?.value === 'true') return found;
  if (!applicationIdPattern.test(id)) {
    refuse('', `${JSON.stringify(id)} cannot be the id of an application`);
    return found;
  }
  const values: { -readonly [K in keyof Values]: Values[K] } = {};
  const take = (key: string, give: (value: string) => void): void => {
    const value = keys.get(key)?.value;
    if (value === undefined || value === '') return;
    try {
      give(value);
    } catch (error) {
      if (!(error instanceof BadFact)) throw error;
      refuse(key, `${key} ${error.message}`);
    }
  };
  take('Name', (value) => {
    values.name = checkFact('name', value);
  });
  take('Categories', (value) => {
    values.categories = checkFact('categories', value.split(';').filter(Boolean));
  });
  take('Exec', (value) => {
    const words = wordsOfExec(value);
    if (words === undefined) return refuse('Exec', 'Exec cannot be taken apart into words');
    const program = programOf(words);
    if (program !== undefined) found.program = program;
  });
  found.fragments.push({ of: { id }, source: 'imported', from: file, confidence, dateMs, values });
  return found;
}
