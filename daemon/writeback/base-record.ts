import { readFileSync, writeFileSync } from 'node:fs';
import { failedWith } from '../kernel/errno.ts';
import type { Fd } from '../kernel/fd.ts';
import { OPEN, openBeneath, renameIn, unlinkIn } from '../kernel/openat.ts';
import type { Base } from './delta.ts';
import { sealLines, unsealLines } from './sealed-lines.ts';

/** Beside what the program sees: what the folder on the disk was when memory was filled with it. For a writer that follows one that has ended. */
const RECORD = 'base';
const PART = 'base.part';
const FORMAT = 1;

function removeIn(place: Fd, name: string): void {
  try {
    unlinkIn(place, name);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}

/** Writes it down whole or not at all. It lies in memory, and is flushed nowhere: with the machine, all that it tells of goes. */
export function writeBase(place: Fd, base: ReadonlyMap<string, Base>): void {
  removeIn(place, PART);
  {
    using file = openBeneath(place, PART, { flags: OPEN.create, mode: 0o600 });
    const head = { format: FORMAT, names: base.size };
    writeFileSync(file.number, sealLines([head, ...base]), 'latin1');
  }
  renameIn(place, PART, place, RECORD);
}

/** What was written down; undefined when there is nothing of it, or nothing that can be read. */
export function recallBase(place: Fd): Map<string, Base> | undefined {
  let text: string;
  try {
    using file = openBeneath(place, RECORD, { flags: OPEN.read | OPEN.nonBlocking });
    text = readFileSync(file.number, 'latin1');
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
  const [head, ...names] = unsealLines(text) ?? [];
  const { format } = (head ?? {}) as { format?: number };
  return format === FORMAT ? new Map(names as [string, Base][]) : undefined;
}

/** Removes it: from now on the folder on the disk is made something else. */
export function forgetBase(place: Fd): void {
  removeIn(place, RECORD);
}
