import type { FactName, FactValues, Origin } from './application.ts';

/** Facts as one source has them. */
export type Values = { readonly [K in FactName]?: FactValues[K] };

/** What one place says: of an application by its id, or of every application that has a program of this name. */
export interface Fragment extends Origin {
  of: { id: string } | { name: string };
  values: Values;
}

/** Something that could not be read, with its place. */
export interface Problem {
  /** `FILE:LINE` or `FILE`. */
  from: string;
  text: string;
}

/** What was understood of a text, and what was not. */
export interface Found {
  fragments: Fragment[];
  problems: Problem[];
}

/** A text to be understood, with what is known about it. */
export interface SourceText {
  /** Its path, as people are told. */
  file: string;
  text: string;
  /** When it was last written. */
  dateMs: number;
}

/** What lines begin with in every one of these languages, and lines that are empty. */
export const isRemark = (line: string): boolean => /^\s*(#|$)/.test(line);
