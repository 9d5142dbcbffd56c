import type { Entry } from './entry.ts';

/** What can differ between two entries; the words that people see. */
export type Aspect = 'type' | 'content' | 'mode' | 'owner' | 'time' | 'xattrs' | 'target' | 'links';

/**
 * In what two entries of the same path differ, contents aside: only unequal sizes show here as
 * 'content'. Folders have no size. Hard links have nothing of their own but their target.
 */
export function differentAspects(a: Entry, b: Entry): Aspect[] {
  if (a.type !== b.type) return ['type'];
  const found: Aspect[] = [];
  if (a.size !== b.size) found.push('content');
  if (a.mode !== b.mode) found.push('mode');
  if (a.uid !== b.uid || a.gid !== b.gid) found.push('owner');
  if (a.mtime !== b.mtime || a.mtimeNs !== b.mtimeNs) found.push('time');
  if (!sameXattrs(a.xattrs, b.xattrs)) found.push('xattrs');
  if (a.target !== b.target || a.rdev?.join() !== b.rdev?.join()) found.push('target');
  return found;
}

/** True when two sorted attribute lists are equal. */
function sameXattrs(a: Entry['xattrs'], b: Entry['xattrs']): boolean {
  return (
    a.length === b.length && a.every(([name, value], i) => b[i]?.[0] === name && b[i][1] === value)
  );
}

/**
 * The hard-link groups of a tree: path of the first name -> the other names, in order. Files with
 * one name are left out.
 */
export function linkGroups(entries: readonly Entry[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const { type, target, path } of entries) {
    if (type !== 'hardlink' || target === undefined) continue;
    const names = groups.get(target);
    if (names === undefined) groups.set(target, [path]);
    else names.push(path);
  }
  return groups;
}

/** The entries that hard links of a tree point at, by path. */
export function linkTargets(entries: readonly Entry[]): Map<string, Entry> {
  const groups = linkGroups(entries);
  return new Map(
    entries.filter(({ path }) => groups.has(path)).map((entry) => [entry.path, entry]),
  );
}

/** True when two groups have the same further names. */
export function sameNames(a: string[] | undefined, b: string[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((name, i) => b[i] === name);
}
