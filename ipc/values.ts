import { PersonaError } from './errors.ts';

/** Identifiers of everything a user names: bases, personas, slots. Also safe as one path component. */
export const namePattern = /^[a-z0-9](?!.*\.\.)[a-z0-9._-]{0,62}$/;

/** `sha256:` and 64 lower-case hex digits. */
export const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** A key by the hex digits of its id, with or without the kind in front. */
export const keyIdPattern = /^(ed25519:)?[0-9a-f]{8,64}$/;

/** Ids of changes, generations' uppers, tickets: made by the daemon, never by a user. */
export const tokenPattern = /^[a-z0-9]{8,64}$/;

/** So many things one `system gc` removes; the next one goes on. */
export const collectedMax = 1_000;

/** What a launcher follows: in each list of a plan so many texts, and this much in all. */
export const planListMax = 512;
export const planBytesMax = 60 * 1024;

/** True when `text` may name an object. */
export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** `text` itself when it may name an object. Throws `bad-name`. */
export function checkName(text: string): string {
  if (!isName(text)) throw new PersonaError('bad-name', { name: JSON.stringify(text) });
  return text;
}

/** True for a full digest, `sha256:HEX`. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/** The file-name form of a digest: `sha256-HEX`. Throws `bad-value`. */
export function digestToFileName(digest: string): string {
  if (!isDigest(digest)) throw new PersonaError('bad-value', { name: 'digest', reason: digest });
  return `sha256-${digest.slice(7)}`;
}

/** The digest of its file-name form, or undefined when `name` is something else. */
export function digestFromFileName(name: string): string | undefined {
  const digest = name.replace(/^sha256-/, 'sha256:');
  return isDigest(digest) && name.startsWith('sha256-') ? digest : undefined;
}

const sizeUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Bytes of "512", "8G", "1.5GiB", "64k" (powers of 1024). Throws `bad-value`. */
export function parseSize(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([kmgtp]?)(?:i?b)?$/i.exec(text.trim());
  const unit = match ? ' kmgtp'.indexOf(match[2] ? match[2].toLowerCase() : ' ') : -1;
  const bytes = match && unit >= 0 ? Math.round(Number(match[1]) * 1024 ** unit) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new PersonaError('bad-value', { name: 'size', reason: `${JSON.stringify(text)}` });
  }
  return bytes;
}

/** "1.5 GiB": three significant digits, powers of 1024. */
export function formatSize(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < sizeUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const number = value.toFixed(digits).replace(/\.0+$/, '');
  return `${bytes < 0 ? '-' : ''}${number} ${sizeUnits[unit]}`;
}

/** "340 us", "1.2 ms", "3.4 s", "5 min", "2 h", "3 d" of milliseconds. */
export function formatDuration(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} us`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86_400 * 2) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Printable ASCII: nearly all text, known without the classes below. */
const printable = /^[\x20-\x7e]*$/;
// Control, format (bidi, zero-width, tags), lone surrogates, line and paragraph separators, and
// everything that is drawn as nothing. Made on first use: Unicode classes are slow to compile.
const unsafeClass = '[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}\\p{Default_Ignorable_Code_Point}]';
let unsafe: RegExp | undefined;

/** Matches, one by one, the characters that must not reach a terminal as they are. */
export function unsafeCharacters(): RegExp {
  unsafe ??= new RegExp(unsafeClass, 'gu');
  return unsafe;
}

/**
 * `text` with everything that could move the cursor, hide or reorder characters written as \xNN or
 * \u{NNNN}. For the last printer only: data stays as it is until then.
 */
export function escapeText(text: string): string {
  if (printable.test(text)) return text;
  return text.replace(unsafeCharacters(), (char) => {
    const code = char.codePointAt(0) ?? 0;
    if (char === '\n') return '\\n';
    if (char === '\t') return '\\t';
    const hex = code.toString(16);
    return code <= 0xff ? `\\x${hex.padStart(2, '0')}` : `\\u{${hex}}`;
  });
}

/** The id of an application, as its desktop entry is called: one word that is safe in paths and on command lines. */
export const applicationIdPattern = /^[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._+-]{0,127}$/;

/** Things of its user's session, and the network, that a program in a sandbox may be given, one by one. */
export const grantWords = ['net', 'display', 'wayland', 'sound', 'gpu', 'bus', 'agent'] as const;
export type GrantWord = (typeof grantWords)[number];
