import { formatDuration } from '../../ipc/values.ts';
import type { MediumName } from './partition.ts';

/** Less is lost in the noise of a measurement, and not worth what a fast partition takes. */
const GAIN_LEAST = 2;

/** What was measured, in milliseconds: a write that waits for the disk, and a cold read. */
export interface Figure {
  on: MediumName | 'disk';
  syncMs: number;
  readMs: number;
}

/** A medium that could be chosen: measured, or not to be had. */
export type Candidate =
  | { on: MediumName; syncMs: number; readMs: number }
  | { on: MediumName; refused: string };

/** What a partition is best made on, and why. */
export interface Choice {
  on: MediumName | 'none';
  why: string;
  figures: Figure[];
}

const ratio = (disk: number, candidate: number): number => disk / Math.max(candidate, 1e-6);
const times = (factor: number): string =>
  factor >= 9.95 ? `${Math.round(factor)} times` : `${factor.toFixed(1)} times`;

function compared(disk: Figure, one: Figure): { gains: boolean; text: string } {
  const sync = ratio(disk.syncMs, one.syncMs);
  const read = ratio(disk.readMs, one.readMs);
  const text =
    `${one.on}: writes that wait for the disk ${times(sync)} as fast ` +
    `(${formatDuration(one.syncMs)} against ${formatDuration(disk.syncMs)}), ` +
    `cold reads ${times(read)} (${formatDuration(one.readMs)} against ${formatDuration(disk.readMs)})`;
  return { gains: Math.max(sync, read) >= GAIN_LEAST, text };
}

/**
 * The first of the candidates, in their order, whose writes or cold reads are at least twice as fast as those of the disk. `none`
 * when no one is: then nothing is gained by a partition. Pure.
 */
export function choose(disk: Omit<Figure, 'on'>, candidates: readonly Candidate[]): Choice {
  const ground: Figure = { on: 'disk', ...disk };
  const figures = [ground, ...candidates.flatMap((one) => ('refused' in one ? [] : [one]))];
  const said: string[] = [];
  for (const one of candidates) {
    if ('refused' in one) {
      said.push(`${one.on}: ${one.refused}`);
      continue;
    }
    const { gains, text } = compared(ground, one);
    said.push(text);
    if (gains) return { on: one.on, why: said.join('; '), figures };
  }
  return { on: 'none', why: `no gain: ${said.join('; ')}`, figures };
}
