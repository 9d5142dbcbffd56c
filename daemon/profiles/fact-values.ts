import { grantWords, isName, parseSize, unsafeCharacters } from '../../ipc/values.ts';
import {
  cpuNeeds,
  type FactName,
  type FactValues,
  measuredOnly,
  profiles,
  type StatableName,
  securityLevels,
} from './application.ts';

/** Bounds of one fact: metadata is written by anybody, and kept in memory. */
const TEXT_CHARS_MAX = 128;
const PATH_CHARS_MAX = 512;
const LIST_MAX = 64;

/** Why a value cannot be that of a fact. */
export class BadFact extends Error {}

const bad = (wanted: string): never => {
  throw new BadFact(`must be ${wanted}`);
};

function oneOf<T extends string>(allowed: readonly T[]): (value: unknown) => T {
  return (value) => allowed.find((one) => one === value) ?? bad(`one of ${allowed.join(', ')}`);
}

/** No control characters, and nothing that hides or reorders others. */
const isPlain = (text: string): boolean =>
  /^[\x20-\x7e]*$/.test(text) || text.search(unsafeCharacters()) === -1;

/** One line of text without anything that moves a cursor or hides. */
function text(value: unknown): string {
  const fits = typeof value === 'string' && value !== '' && value.length <= TEXT_CHARS_MAX;
  return fits && isPlain(value)
    ? value
    : bad(`text of 1 to ${TEXT_CHARS_MAX} printable characters`);
}

function bytes(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  if (typeof value !== 'string') return bad('a size such as "512M"');
  try {
    return parseSize(value);
  } catch {
    return bad('a size such as "512M"');
  }
}

const enclaveName = (value: unknown): string =>
  typeof value === 'string' && isName(value) ? value : bad('a name such as "vault"');

const amount = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0
    ? value
    : bad('a number that is not negative');

const flag = (value: unknown): boolean =>
  typeof value === 'boolean' ? value : bad('true or false');

function listOf<T extends string>(check: (value: unknown) => T, wanted: string) {
  return (value: unknown): readonly T[] => {
    if (!Array.isArray(value) || value.length > LIST_MAX)
      return bad(`a list of at most ${LIST_MAX} ${wanted}`);
    return [...new Set(value.map(check))];
  };
}

/** A path of which every part is what it looks like. */
function plainPath(value: unknown, start: RegExp, wanted: string): string {
  const fits =
    typeof value === 'string' &&
    value.length <= PATH_CHARS_MAX &&
    start.test(value) &&
    !/\/\.{0,2}(\/|$)/.test(value) &&
    isPlain(value);
  return fits ? value : bad(wanted);
}

/** A folder of the user below his home, never the home itself. */
const folder = (value: unknown): string =>
  plainPath(value, /^~\/[^/]/, 'folders of the form "~/.config/paint"');
const program = (value: unknown): string =>
  plainPath(value, /^\/[^/]/, 'absolute paths of programs');
/** A folder of the user, or of the machine. */
const anyFolder = (value: unknown): string =>
  plainPath(value, /^~?\/[^/]/, 'folders of the form "~/Pictures" or "/srv/pictures"');

const checks: { [K in FactName]: (value: unknown) => FactValues[K] } = {
  name: text,
  categories: listOf(text, 'words'),
  profile: oneOf(profiles),
  cpu: oneOf(cpuNeeds),
  memory: bytes,
  storage: bytes,
  dependencies: listOf(text, 'names'),
  security: oneOf(securityLevels),
  data: listOf(folder, 'folders'),
  cache: listOf(folder, 'folders'),
  temporary: listOf(folder, 'folders'),
  lossOk: flag,
  grants: listOf(oneOf(grantWords), 'words'),
  show: listOf(anyFolder, 'folders'),
  share: listOf(anyFolder, 'folders'),
  enclave: enclaveName,
  executables: listOf(program, 'paths'),
  typicalMemory: bytes,
  processors: amount,
  coldRead: bytes,
  startTime: amount,
  syncRate: amount,
  diskWait: amount,
};

/** All facts, in the order in which they are shown. */
export const factNames = Object.keys(checks) as readonly FactName[];

/** Those that somebody can say: what is only measured is nobody's word. */
export const statableNames = factNames.filter(
  (name): name is StatableName => !measuredOnly.some((one) => one === name),
);

export const isStatable = (name: string): name is StatableName =>
  statableNames.some((one) => one === name);

/** `value` as that of a fact. Throws BadFact. */
export function checkFact<K extends FactName>(name: K, value: unknown): FactValues[K] {
  return checks[name](value);
}

/** As a fact is written in files: `loss_ok`. */
export const writtenName = (name: FactName): string => (name === 'lossOk' ? 'loss_ok' : name);

/** The fact that is written so, or undefined. */
export const factWritten = (written: string): StatableName | undefined =>
  statableNames.find((name) => writtenName(name) === written);
