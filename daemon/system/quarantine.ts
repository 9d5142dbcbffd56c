import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { digestFromFileName } from '../../ipc/values.ts';
import { statePlaces } from '../config/paths.ts';
import { moveDurably, removeAsides } from '../kernel/files.ts';
import { writeRecord } from '../kernel/records.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import type { Store } from '../store/store.ts';

/** One thing the database does not know, put aside and kept. */
export interface Quarantined {
  /** Folder of the state tree it was found in. */
  place: string;
  name: string;
  /** Where it is now. */
  path: string;
}

/** What a notice says of a quarantined thing. */
export interface Notice {
  text: string;
  command?: string;
}

function names(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => !name.endsWith('.quarantine.json'))
    .sort();
}

async function digests(store: Store, sql: string): Promise<Set<string>> {
  const rows = await store.all(sql);
  return new Set(rows.map((row) => String(row.digest)));
}

/** File names in `folder` that belong to no digest of `known`. */
function unknown(folder: string, known: ReadonlySet<string>): string[] {
  return names(folder).filter((name) => {
    const digest = digestFromFileName(name.replace(/\.[a-z]+$/, ''));
    return digest === undefined || !known.has(digest);
  });
}

/**
 * Puts aside what lies among layers and personas without a row: left by a crash between a file and its
 * row, or put there by hand. Nothing is deleted. Call after recovery, with a database that is trusted.
 */
export async function quarantineUnknown(
  state: string,
  store: Store,
  nowMs: number,
): Promise<Quarantined[]> {
  const moved: Quarantined[] = [];
  const places = [
    [statePlaces.layers, 'SELECT digest FROM layers UNION SELECT digest FROM persona_layers'],
    [statePlaces.personas, 'SELECT digest FROM personas'],
  ] as const;
  for (const [place, sql] of places) {
    const known = await digests(store, sql);
    for (const name of unknown(join(state, place), known)) {
      const path = join(state, statePlaces.quarantine, `${nowMs}-${place}-${name}`);
      await moveDurably(join(state, place, name), path);
      await writeRecord(`${path}.quarantine.json`, 'quarantine', { place, name, foundMs: nowMs });
      moved.push({ place, name, path });
    }
  }
  return moved;
}

/** Empties the staging folder: what stands there belongs to changes, and after recovery none is open. */
export async function clearStaging(state: string): Promise<void> {
  const staging = join(state, statePlaces.staging);
  for (const name of readdirSync(staging)) await removeTree(join(staging, name));
}

/** Removes what a crash left of files that were only being written. Before anything writes to the state tree. */
export async function clearAsides(state: string): Promise<void> {
  const { keys, trustedKeys, layers, personas, slots } = statePlaces;
  const ofSlots = readdirSync(join(state, slots)).flatMap((slot) => [
    join(slots, slot, 'generations'),
    join(slots, slot, 'uppers'),
  ]);
  for (const place of ['.', keys, trustedKeys, layers, personas, ...ofSlots])
    await removeAsides(join(state, place));
}

/** What is in quarantine, each with the command that takes it back or looks at it. */
export function quarantineNotices(state: string): Notice[] {
  const folder = join(state, statePlaces.quarantine);
  return names(folder).map((name) => {
    const path = join(folder, name);
    const text = `in quarantine, unknown to the database: ${name}`;
    if (name.endsWith('-replaced')) return replacedNotice(state, name);
    if (name.endsWith('.osp')) return { text, command: `personactl persona import ${path}` };
    if (name.endsWith('.erofs'))
      return { text, command: `personactl base import NAME --from ${path}` };
    return { text, command: `ls -lR ${path}` };
  });
}

/** What a restore has put aside. What slots held may lie on a volume of their own. */
function replacedNotice(state: string, name: string): Notice {
  const slots = join(state, statePlaces.slots, `.replaced-${name.replace('-replaced', '')}`);
  const paths = [join(state, statePlaces.quarantine, name), ...(existsSync(slots) ? [slots] : [])];
  return {
    text: `the state before a restore is kept in ${paths.join(' and ')}`,
    command: `rm -r ${paths.join(' ')}`,
  };
}
