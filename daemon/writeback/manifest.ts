import { createHash } from 'node:crypto';
import type { Change } from './delta.ts';

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

const digestOf = (text: string): string =>
  createHash('sha256').update(text, 'latin1').digest('hex');

/** The record as text: a line for each change, and the digest of all of them as the last. */
export function writeGeneration({ number, takenMs, changes }: Generation): string {
  const head = JSON.stringify({ format: FORMAT, number, takenMs, changes: changes.length });
  const text = `${[head, ...changes.map((one) => JSON.stringify(one))].join('\n')}\n`;
  const escaped = text.replace(
    /[\u0080-\u00ff]/g,
    (char) => `\\u00${char.charCodeAt(0).toString(16)}`,
  );
  return `${escaped}${digestOf(escaped)}\n`;
}

/** Reads a record back. Undefined when it is not whole. */
export function readGeneration(text: string): Generation | undefined {
  const end = text.lastIndexOf('\n', text.length - 2) + 1;
  const body = text.slice(0, end);
  if (text.slice(end) !== `${digestOf(body)}\n`) return undefined;
  const [head = '', ...lines] = body.slice(0, -1).split('\n');
  const { format, number, takenMs, changes } = JSON.parse(head);
  if (format !== FORMAT || lines.length !== changes) return undefined;
  return { number, takenMs, changes: lines.map((line) => JSON.parse(line) as Change) };
}

/** Names of the files that these generations need. */
export function blobsOf(generations: readonly Generation[]): Set<string> {
  return new Set(
    generations.flatMap(({ changes }) =>
      changes.flatMap((one) => (one.type === 'file' ? [one.blob] : [])),
    ),
  );
}
