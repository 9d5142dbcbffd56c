import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { Comparison, Difference } from '../images/compare.ts';
import { openSealed } from '../kernel/sealed.ts';
import { baseLayer, findBase } from './base-facts.ts';
import { askWorker } from './image-children.ts';
import type { PersonaLayer } from './persona.ts';
import type { PersonasRoom } from './room.ts';

/** What is compared, and which part of the answer is wanted. */
export interface DiffParams {
  /** Name or digest of a persona, or of a base. */
  from: string;
  to: string;
  /** Only what comes after this path. */
  after?: string | undefined;
  /** Only below this folder. */
  under?: string | undefined;
  limit?: number | undefined;
}

/** A part of the differences, and the sums over all of them. */
export interface DiffPage {
  differences: Difference[];
  more: boolean;
  totals: {
    added: number;
    removed: number;
    changed: number;
    bytesAdded: number;
    bytesRemoved: number;
  };
}

/** Differences in one answer when the caller names no limit. */
const pageDefault = 500;
/** Differences that are listed at all; sums count the others too. */
const listedMax = 200_000;
/** Comparisons kept for the next page: their images never change. */
const keptMax = 4;
/** As long as the contract lets a caller wait. */
const deadlineMs = 290_000;

/** Comparisons by what was compared. Made once by whoever opens the room for callers. */
export type KeptComparisons = Map<string, Promise<Comparison>>;

/**
 * What differs between two personas, or a persona and a base, as one would see it in their trees.
 * Throws persona-not-found.
 */
export async function diffPersonas(
  room: PersonasRoom,
  kept: KeptComparisons,
  params: DiffParams,
): Promise<DiffPage> {
  const [a, b] = [await stackOf(room, params.from), await stackOf(room, params.to)];
  const key = [a, b].map((stack) => stack.map(({ digest }) => digest).join('+')).join(' ');
  let comparison = kept.get(key);
  if (comparison === undefined) {
    comparison = compare(room, a, b);
    kept.set(key, comparison);
    comparison.catch(() => kept.delete(key));
    for (const oldest of kept.keys()) {
      if (kept.size <= keptMax) break;
      kept.delete(oldest);
    }
  }
  return pageOf(await comparison, params);
}

/** Layers, the base first. */
async function stackOf(room: PersonasRoom, reference: string): Promise<PersonaLayer[]> {
  const persona = room.book.find(reference);
  if (persona !== undefined) return persona.layers.toReversed();
  const base = await findBase(room.store, reference);
  if (base === undefined) throw new PersonaError('persona-not-found', { persona: reference });
  return [baseLayer(base)];
}

async function compare(
  room: PersonasRoom,
  a: readonly PersonaLayer[],
  b: readonly PersonaLayer[],
): Promise<Comparison> {
  const files: FileHandle[] = [];
  const sideOf = async (stack: readonly PersonaLayer[]): Promise<string> => {
    const images: string[] = [];
    for (const { file, offset } of stack) {
      files.push(await openSealed(join(room.paths.state, file)));
      images.push(`${firstFile + files.length - 1}@${offset}`);
    }
    return images.join('+');
  };
  try {
    const sides = [await sideOf(a), await sideOf(b)];
    const oneBase = a[0]?.digest === b[0]?.digest;
    const mode = oneBase ? 'differences' : 'compare';
    const signal = AbortSignal.timeout(deadlineMs);
    const answer = await askWorker([mode, ...sides, `--most=${listedMax}`], files, { signal });
    return answer as Comparison;
  } finally {
    for (const file of files) await file.close();
  }
}

/** The number of the first descriptor that a child is given. */
const firstFile = 3;

function pageOf(comparison: Comparison, params: DiffParams): DiffPage {
  const { after, under, limit = pageDefault } = params;
  const folder = under === undefined ? undefined : under.replace(/\/+$/, '');
  const inside = ({ path }: Difference): boolean =>
    folder === undefined || path === folder || path.startsWith(`${folder}/`);
  const all = comparison.differences;
  // In the order of trees, not of texts: "after" is a place in the list.
  const start = after === undefined ? 0 : 1 + all.findIndex(({ path }) => path === after);
  const wanted = all.slice(start).filter(inside);
  const totals = { added: 0, removed: 0, changed: 0, bytesAdded: 0, bytesRemoved: 0 };
  for (const difference of all.filter(inside)) {
    totals[difference.op] += 1;
    const grown = (difference.bytesAfter ?? 0) - (difference.bytesBefore ?? 0);
    if (grown > 0) totals.bytesAdded += grown;
    else totals.bytesRemoved -= grown;
  }
  if (folder === undefined) {
    const { added, removed, changed } = comparison;
    Object.assign(totals, { added, removed, changed });
  }
  const differences = wanted.slice(0, limit);
  return { differences, more: wanted.length > limit || comparison.omitted > 0, totals };
}
