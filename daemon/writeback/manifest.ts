import type { Change } from './delta.ts';
import { sealLines, unsealLines } from './sealed-lines.ts';

/** All that memory has and the disk has not, at one moment. */
export interface Generation {
  number: number;
  /** When it was taken: milliseconds since 1970. */
  takenMs: number;
  changes: Change[];
}

const FORMAT = 1;
const manifestName = /^(\d{1,12})\.generation$/;

/** What the record of a generation is called. */
export const nameOf = (number: number): string => `${number}.generation`;

/** The generation that a file of this name is the record of. */
export const numberOf = (name: string): number | undefined => {
  const digits = manifestName.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

/** The record as text: a line for each change, and the digest of all of them as the last. */
export function writeGeneration({ number, takenMs, changes }: Generation): string {
  return sealLines([{ format: FORMAT, number, takenMs, changes: changes.length }, ...changes]);
}

/** Reads a record back. Undefined when it is not whole. */
export function readGeneration(text: string): Generation | undefined {
  const [head, ...lines] = unsealLines(text) ?? [];
  const { format, number, takenMs, changes } = (head ?? {}) as Record<string, number>;
  if (format !== FORMAT || number === undefined || takenMs === undefined) return undefined;
  return lines.length === changes ? { number, takenMs, changes: lines as Change[] } : undefined;
}

/** The file in the box that a change needs, if any. */
export const blobOf = (change: Change): string | undefined =>
  'blob' in change ? change.blob : undefined;

/** Names of the files that these generations need, and what each is known by. */
export function blobsOf(generations: readonly Generation[]): Map<string, string> {
  const needed = new Map<string, string>();
  for (const change of generations.flatMap(({ changes }) => changes))
    if ('blob' in change && change.blob !== undefined) needed.set(change.blob, change.digest ?? '');
  return needed;
}
