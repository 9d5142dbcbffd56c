import { commands } from './commands.ts';

/** What people type who come from other tools. */
const synonyms: Readonly<Record<string, string>> = {
  add: 'base import',
  activate: 'swap',
  checkout: 'swap',
  delete: 'rm',
  diff: 'persona diff',
  enter: 'exec',
  export: 'persona export',
  import: 'persona import',
  info: 'show',
  inspect: 'show',
  load: 'persona import',
  log: 'history',
  logs: 'history',
  ls: 'list',
  prune: 'gc',
  remove: 'rm',
  run: 'exec',
  switch: 'swap',
  undo: 'rollback',
  use: 'swap',
  verify: 'persona verify',
};

/** Edits (insert, remove, replace, swap two neighbours) from one word to another. */
export function distance(from: string, to: string): number {
  let before: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[to.length] ?? 0;
}

/** The candidate that was probably meant, or undefined when none is near. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const near = candidates
    .map((candidate) => ({ candidate, edits: distance(word, candidate) }))
    .filter(({ candidate, edits }) => edits <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((a, b) => a.edits - b.edits);
  if (near[0]) return near[0].candidate;
  if (word.length < 2) return undefined;
  return candidates.find((candidate) => candidate.startsWith(word));
}

/** The command that was probably meant by these first words of a line. */
export function nearestCommand(words: readonly string[]): string | undefined {
  const [first = '', second] = words;
  const names = commands().flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  const shown = names.filter((name) => !name.startsWith('_'));
  const groups = [...new Set(shown.filter((name) => name.includes(' ')).map(firstWord))];
  const group = groups.includes(first) ? first : nearest(first, groups);
  if (group !== undefined && second !== undefined) {
    const verbs = shown.filter((name) => name.startsWith(`${group} `)).map(secondWord);
    const verb = verbs.includes(synonyms[second] ?? '') ? synonyms[second] : nearest(second, verbs);
    if (verb !== undefined) return `${group} ${verb}`;
  }
  const synonym = synonyms[first];
  if (synonym !== undefined && shown.includes(synonym)) return synonym;
  const single = shown.filter((name) => !name.includes(' '));
  return nearest(first, single) ?? (second === undefined ? group : undefined);
}

const firstWord = (name: string) => name.split(' ')[0] ?? '';
const secondWord = (name: string) => name.split(' ')[1] ?? '';
