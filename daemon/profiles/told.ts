import { applicationIdPattern, type FactName, type Source } from './application.ts';
import { BadFact, checkFact, isStatable } from './fact-values.ts';
import type { Fragment, Problem, Values } from './fragment.ts';
import type { Preset } from './importers/tuned.ts';
import { type Count, emptySurvey, type KnownProgram, type Survey } from './survey.ts';

/** Longest place that a survey may tell: a path and a line. */
const FROM_CHARS_MAX = 4_200;
/** Bounds of what is kept of one survey. */
const KEPT = {
  fragments: 50_000,
  entries: 512,
  programs: 20_000,
  problems: 200,
  presets: 500,
  counts: 16,
};

type Raw = Record<string, unknown>;
const isRaw = (value: unknown): value is Raw => typeof value === 'object' && value !== null;
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
const isNumber = (value: unknown): value is string =>
  typeof value === 'string' && /^[0-9]{1,20}$/.test(value);
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= FROM_CHARS_MAX;
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);

function valuesOf(raw: Raw): Values {
  const values: { [K in FactName]?: unknown } = {};
  for (const [name, value] of Object.entries(raw)) {
    if (!isStatable(name)) throw new BadFact(`be a fact, not ${name}`);
    values[name] = checkFact(name, value);
  }
  return values as Values;
}

function ofOf(raw: unknown): Fragment['of'] | undefined {
  if (!isRaw(raw)) return undefined;
  if (isText(raw.id) && applicationIdPattern.test(raw.id)) return { id: raw.id };
  return isText(raw.name) ? { name: checkFact('name', raw.name) } : undefined;
}

function fragmentOf(raw: unknown, allowed: readonly Source[]): Fragment | undefined {
  if (!isRaw(raw) || !isRaw(raw.values)) return undefined;
  const { from, confidence, dateMs } = raw;
  const source = allowed.find((one) => one === raw.source);
  const sure = typeof confidence === 'number' && confidence >= 0 && confidence <= 1;
  const of = ofOf(raw.of);
  if (of === undefined || source === undefined || !isText(from) || !sure || !isCount(dateMs))
    return undefined;
  return { of, source, from, confidence, dateMs, values: valuesOf(raw.values) };
}

function programOf(raw: unknown): KnownProgram | undefined {
  if (!isRaw(raw) || !isText(raw.path) || !isText(raw.real)) return undefined;
  const { path, real, device, inode, package: owner } = raw;
  if (!isNumber(device) || !isNumber(inode)) return undefined;
  return { path, real, device, inode, ...(isText(owner) && { package: owner }) };
}

function problemOf(raw: unknown): Problem | undefined {
  if (!isRaw(raw) || !isText(raw.from) || !isText(raw.text)) return undefined;
  return { from: raw.from, text: raw.text };
}

function presetOf(raw: unknown): Preset | undefined {
  if (!isRaw(raw) || !isText(raw.name) || !isText(raw.summary) || !isText(raw.from))
    return undefined;
  const { name, summary, from, include, sets } = raw;
  return isTexts(include) && isTexts(sets) ? { name, summary, include, sets, from } : undefined;
}

function countOf(raw: unknown): Count | undefined {
  if (!isRaw(raw) || !isText(raw.kind) || !isCount(raw.files) || !isCount(raw.entries))
    return undefined;
  return { kind: raw.kind, files: raw.files, entries: raw.entries };
}

/**
 * Puts a survey together from the lines of a surveyor. They are the word of whom it ran as: everything is checked again, and only as much is
 * kept as a survey may have. What is wrong is left out. `allowed`: the sources that it may speak for.
 */
export class Told {
  readonly survey = emptySurvey();
  readonly #allowed: readonly Source[];

  constructor(allowed: readonly Source[]) {
    this.#allowed = allowed;
  }

  /** Takes one line. Throws SyntaxError when it is no JSON. */
  line(text: string): void {
    const piece: unknown = JSON.parse(text);
    if (!isRaw(piece)) return;
    this.#take('fragments', piece.fragments, (raw) => fragmentOf(raw, this.#allowed));
    this.#take('entries', piece.entries, (raw) => fragmentOf(raw, this.#allowed));
    this.#take('programs', piece.programs, programOf);
    this.#take('problems', piece.problems, problemOf);
    this.#take('presets', piece.presets, presetOf);
    this.#take('counts', piece.counts, countOf);
    if (isCount(piece.problemsMore)) this.survey.problemsMore += piece.problemsMore;
  }

  #take<K extends keyof typeof KEPT>(
    kind: K,
    list: unknown,
    understand: (raw: unknown) => Survey[K][number] | undefined,
  ): void {
    if (!Array.isArray(list)) return;
    const kept = this.survey[kind] as Survey[K][number][];
    for (const raw of list) {
      if (kept.length >= KEPT[kind]) return;
      try {
        const one = understand(raw);
        if (one !== undefined) kept.push(one);
      } catch (error) {
        if (!(error instanceof BadFact)) throw error;
      }
    }
  }
}
