import { BadFact, checkFact } from '../fact-values.ts';
import type { Found, SourceText } from '../fragment.ts';

/** The list is made for just this: data that may lie in memory. That it may be lost is not said there. */
const confidence = 0.6;

/** Folders that these scripts are told by their environment. */
const places: Readonly<Record<string, string>> = {
  HOME: '~',
  XDG_CONFIG_HOME: '~/.config',
  XDG_DATA_HOME: '~/.local/share',
  XDG_CACHE_HOME: '~/.cache',
};

/** `text` with its variables filled in, or undefined when one is not known. */
function filled(text: string, known: Readonly<Record<string, string>>): string | undefined {
  let whole = true;
  const path = text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced?: string, bare?: string) => {
    const value = known[braced ?? bare ?? ''];
    whole &&= value !== undefined;
    return value ?? '';
  });
  return whole && !/[`$()*?]/.test(path) ? path : undefined;
}

/**
 * Understands a browser of profile-sync-daemon: a piece of shell, of which only assignments of plain text are looked at, and
 * nothing is run. Folders that it finds at run time are those below its `basePath`. Pure.
 */
export function parseBrowser({ file, text, dateMs }: SourceText, browser: string): Found {
  const found: Found = { fragments: [], problems: [] };
  const known: Record<string, string> = { ...places, browser };
  const folders = new Set<string>();
  let base: string | undefined;
  let process = browser;
  let lastLine = 1;
  for (const [index, line] of text.split('\n').entries()) {
    const [, name = '', written = ''] =
      /^\s*(basePath|PSNAME|DIRArr)(?:\[[^\]]*\])?\+?=\(?"([^"]*)"\)?\s*;?\s*$/.exec(line) ?? [];
    const value = filled(written, known);
    if (name === '' || value === undefined || value === '') continue;
    if (name === 'PSNAME') process = value;
    else if (name === 'basePath') base = known.basePath = value;
    else folders.add(value);
    if (name !== 'PSNAME') lastLine = index + 1;
  }
  if (folders.size === 0 && base !== undefined) folders.add(base);
  const from = `${file}:${lastLine}`;
  if (folders.size === 0) {
    found.problems.push({ from, text: 'no folder stands in it as plain text' });
    return found;
  }
  try {
    const all = [...folders];
    const isCache = (path: string) => path.startsWith(`${places.XDG_CACHE_HOME}/`);
    const data = checkFact(
      'data',
      all.filter((path) => !isCache(path)),
    );
    const cache = checkFact('cache', all.filter(isCache));
    const values = {
      profile: 'fast' as const,
      ...(data.length > 0 && { data }),
      ...(cache.length > 0 && { cache }),
    };
    for (const name of new Set([browser, checkFact('name', process)]))
      found.fragments.push({
        of: { name },
        source: 'imported',
        from,
        confidence,
        dateMs,
        values,
      });
  } catch (error) {
    if (!(error instanceof BadFact)) throw error;
    found.problems.push({ from, text: `a folder of it ${error.message}` });
  }
  return found;
}
