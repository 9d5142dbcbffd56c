import test from 'ava';
import { type Base, type Now, planDelta } from '../../../daemon/writeback/delta.ts';

/** Names of one side: folders end with a slash. */
const base = (...names: string[]): Map<string, Base> =>
  new Map(names.map((name, index) => [bare(name), { ...seen(name, `disk-${index}`), ...facts }]));
const now = (...names: string[]): Map<string, Now> =>
  new Map(names.map((name) => [bare(name), seen(name, name)]));
const bare = (name: string): string => name.replace(/\/$/, '');
const facts = { size: 1, mtimeNs: '1' };
const seen = (name: string, inode: string) => ({
  type: name.endsWith('/') ? ('folder' as const) : ('file' as const),
  ...{ inode, mode: 0o700 },
});

/** What is done, in order: `-` for what goes. */
function steps(before: Map<string, Base>, after: Map<string, Now>): string[] {
  const files = [...after.values()].map(({ inode }) => inode);
  const saved = new Map(files.map((inode) => [inode, { blob: 'file-1', size: 1, digest: '' }]));
  const changes = planDelta(before, after, { changed: new Set(files), saved });
  return changes.map(({ type, path }) => `${type === 'gone' ? '-' : ''}${path}`);
}

test('whoever reads the disk meanwhile finds the new before the old goes', (t) => {
  const before = base('objects/', 'objects/1', 'objects/2', 'refs/', 'refs/master', 'z/', 'z/1');
  const after = now('objects/', 'objects/pack', 'packed-refs', 'refs/');
  t.deepEqual(steps(before, after), [
    ...['objects/pack', 'packed-refs'],
    ...['-z/1', '-z', '-refs/master', '-objects/2', '-objects/1'],
  ]);
});

test('what is in the way of the new goes before it', (t) => {
  const before = base('a/', 'a/b/', 'a/b/1', 'c', 'd');
  const after = now('a', 'c/', 'c/1');
  t.deepEqual(steps(before, after), ['-c', '-a/b/1', '-a/b', '-a', 'a', 'c', 'c/1', '-d']);
});
