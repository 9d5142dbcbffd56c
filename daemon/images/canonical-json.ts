import { PersonaError } from '../../ipc/errors.ts';

/** A value that has exactly one canonical form: no floats, no missing values. */
export type CanonicalValue =
  | null
  | boolean
  | number
  | string
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue };

/** Levels of lists and objects inside each other. */
const depthMax = 32;

/**
 * The canonical text of a value: keys sorted by UTF-16 code units, no spaces, whole numbers only.
 * Equal to RFC 8785 for everything it accepts. Digests and signatures are made over its UTF-8 bytes.
 * @throws PersonaError 'bad-value' for numbers that are not whole, broken strings, missing values.
 */
export function canonicalJson(value: CanonicalValue): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw noForm('a number that is not whole');
    return String(value === 0 ? 0 : value);
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw noForm('a broken string');
    return JSON.stringify(value);
  }
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object') throw noForm('a missing value');
  const keys = Object.keys(value).sort();
  const members = keys.map((key) => {
    return `${canonicalJson(key)}:${canonicalJson(value[key] as CanonicalValue)}`;
  });
  return `{${members.join(',')}}`;
}

function isList(value: CanonicalValue): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}

function noForm(what: string): PersonaError {
  return new PersonaError('bad-value', { name: 'a record', reason: `it holds ${what}` });
}

/**
 * Reads JSON that a stranger wrote: UTF-8 only, no key twice in an object (readers would disagree on
 * which one counts), no key '__proto__', at most 32 levels.
 * @returns the value, or what is wrong as `problem`.
 */
export function parseStrictJson(bytes: Buffer): { value: unknown } | { problem: string } {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { problem: 'is not UTF-8' };
  }
  // First our own pass: it refuses deep nesting before the engine recurses.
  const problem = structureProblem(text);
  if (problem !== undefined) return { problem };
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { problem: 'is not JSON' };
  }
}

/** Walks over the tokens: objects keep their keys, lists do not. What is no JSON is found later. */
function structureProblem(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let keyComes = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : undefined);
      if (open.length > depthMax) return `is nested deeper than ${depthMax} levels`;
      keyComes = char === '{';
    } else if (char === '}' || char === ']') {
      open.pop();
      keyComes = false;
    } else if (char === ',') {
      keyComes = open.at(-1) !== undefined;
    } else if (char === '"') {
      const end = stringEnd(text, at);
      const keys = keyComes ? open.at(-1) : undefined;
      const problem = keys && keyProblem(keys, text.slice(at, end));
      if (problem !== undefined) return problem;
      keyComes = false;
      at = end - 1;
    }
  }
  return undefined;
}

/** Position after the string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return text.length;
    let back = quote - 1;
    while (text[back] === '\\') back -= 1;
    // An even number of backslashes leaves the quote as it is.
    if ((quote - 1 - back) % 2 === 0) return quote + 1;
    at = quote;
  }
}

function keyProblem(keys: Set<string>, token: string): string | undefined {
  const key = keyOf(token);
  if (key === undefined || key === '__proto__') return 'has a key that cannot be one';
  if (keys.has(key)) return `has the key ${JSON.stringify(key.slice(0, 100))} twice`;
  keys.add(key);
  return undefined;
}

function keyOf(token: string): string | undefined {
  try {
    return JSON.parse(token) as string;
  } catch {
    return undefined;
  }
}
