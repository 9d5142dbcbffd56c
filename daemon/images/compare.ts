import type { Entry } from './entry.ts';
import {
  type Aspect,
  differentAspects,
  linkGroups,
  linkTargets,
  sameNames,
} from './entry-compare.ts';
import { paired } from './paired.ts';
import { sameContent } from './same-content.ts';
import type { Tree } from './tree.ts';

/** One difference as a person would see it: the path starts with '/', odd bytes are kept as latin1. */
export interface Difference {
  op: 'added' | 'removed' | 'changed';
  path: string;
  /** The type after, or before when it was removed. */
  type: string;
  bytesBefore?: number;
  bytesAfter?: number;
  /** Of a changed entry: in what. */
  what?: Aspect[];
}

/** All differences of two trees, in path order. */
export interface Comparison {
  differences: Difference[];
  /** Differences that were counted but are not listed. */
  omitted: number;
  added: number;
  removed: number;
  changed: number;
  /** Bytes of all files before and after. */
  bytesBefore: number;
  bytesAfter: number;
}

/** Differences listed when the caller does not say how many. */
export const differencesMax = 10_000;

/**
 * Compares two trees name by name: what `b` has more, less, or otherwise than `a`. Every name of a
 * hard-link group is compared by what it shows; 'links' says that a name joined or left a group.
 */
export async function compareTrees(a: Tree, b: Tree, most = differencesMax): Promise<Comparison> {
  const result: Comparison = {
    differences: [],
    omitted: 0,
    added: 0,
    removed: 0,
    changed: 0,
    bytesBefore: 0,
    bytesAfter: 0,
  };
  const sides = { a: new Side(a), b: new Side(b) };
  for (const pair of paired(a.entries, b.entries)) {
    const before = pair.a && sides.a.shown(pair.a);
    const after = pair.b && sides.b.shown(pair.b);
    if (pair.a?.type === 'file') result.bytesBefore += pair.a.size ?? 0;
    if (pair.b?.type === 'file') result.bytesAfter += pair.b.size ?? 0;
    const what = before && after ? await aspects(sides, before, after) : [];
    if (before && after && what.length === 0) continue;
    const op = after === undefined ? 'removed' : before === undefined ? 'added' : 'changed';
    result[op] += 1;
    const path = `/${(pair.a ?? pair.b)?.path ?? ''}`;
    if (result.differences.length >= most) result.omitted += 1;
    else result.differences.push(describe(op, path, before, after, what));
  }
  return result;
}

/** One of the trees, with its hard-link groups resolved. */
class Side {
  readonly tree: Tree;
  readonly groups: Map<string, string[]>;
  private readonly firsts: Map<string, Entry>;

  constructor(tree: Tree) {
    this.tree = tree;
    this.groups = linkGroups(tree.entries);
    this.firsts = linkTargets(tree.entries);
  }

  /** What a name shows: for a hard link the entry of its first name. */
  shown(entry: Entry): Entry {
    return entry.type === 'hardlink' ? (this.firsts.get(entry.target ?? '') ?? entry) : entry;
  }
}

async function aspects(
  sides: { a: Side; b: Side },
  before: Entry,
  after: Entry,
): Promise<Aspect[]> {
  const found = differentAspects(before, after);
  if (found.includes('type')) return found;
  if (before.type === 'file' && !found.includes('content')) {
    const same = await sameContent(
      { tree: sides.a.tree, entry: before },
      { tree: sides.b.tree, entry: after },
    );
    if (!same) found.unshift('content');
  }
  const groupBefore = sides.a.groups.get(before.path);
  const groupAfter = sides.b.groups.get(after.path);
  const moved = before.path !== after.path;
  if (moved || !sameNames(groupBefore, groupAfter)) found.push('links');
  return found;
}

function describe(
  op: Difference['op'],
  path: string,
  before: Entry | undefined,
  after: Entry | undefined,
  what: Aspect[],
): Difference {
  const difference: Difference = { op, path, type: (after ?? before)?.type ?? 'file' };
  if (before?.size !== undefined) difference.bytesBefore = before.size;
  if (after?.size !== undefined) difference.bytesAfter = after.size;
  if (op === 'changed') difference.what = what;
  return difference;
}
