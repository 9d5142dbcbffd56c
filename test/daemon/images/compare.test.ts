import test from 'ava';
import fc from 'fast-check';
import { applyDiff } from '../../../daemon/images/apply.ts';
import { compareTrees } from '../../../daemon/images/compare.ts';
import { diffTrees } from '../../../daemon/images/diff.ts';
import type { Entry } from '../../../daemon/images/entry.ts';
import { sameContent } from '../../../daemon/images/same-content.ts';
import { arrangeEntries, type Tree, treeOf } from '../../../daemon/images/tree.ts';
import { modelPair, snapshot, treeOfModel } from '../../support/tree-arbitrary.ts';

const numbers = { mode: 0o644, uid: 0, gid: 0, mtime: 0, mtimeNs: 0, xattrs: [] };

/** A small tree: path -> text, or null for a folder. */
function small(files: Record<string, string | null>, change: Partial<Entry> = {}): Tree {
  const entries: Entry[] = [{ path: '', type: 'dir', ...numbers }];
  for (const [path, text] of Object.entries(files)) {
    if (text === null) entries.push({ path, type: 'dir', ...numbers });
    else entries.push({ path, type: 'file', ...numbers, size: text.length, ...change });
  }
  return treeOf(arrangeEntries(entries), async function* (entry) {
    yield Buffer.from(files[entry.path] ?? '');
  });
}

test('added, removed and changed names are told, with sizes and what changed', async (t) => {
  const a = small({ same: 'x', gone: '123', text: 'old', kind: 'f', d: null });
  const b = small({ same: 'x', text: 'new', kind: null, d: null, 'd/more': '12345' });
  t.deepEqual(await compareTrees(a, b), {
    differences: [
      { op: 'added', path: '/d/more', type: 'file', bytesAfter: 5 },
      { op: 'removed', path: '/gone', type: 'file', bytesBefore: 3 },
      { op: 'changed', path: '/kind', type: 'dir', bytesBefore: 1, what: ['type'] },
      {
        op: 'changed',
        path: '/text',
        type: 'file',
        bytesBefore: 3,
        bytesAfter: 3,
        what: ['content'],
      },
    ],
    omitted: 0,
    added: 1,
    removed: 1,
    changed: 2,
    bytesBefore: 8,
    bytesAfter: 9,
  });
});

test('every aspect has its word', async (t) => {
  const xattrs: Entry['xattrs'] = [['user.a', 'b']];
  const a = small({ f: 'x' });
  const b = small({ f: 'y' }, { mode: 0o600, uid: 5, mtimeNs: 1, xattrs });
  const { differences } = await compareTrees(a, b);
  t.deepEqual(differences[0]?.what, ['content', 'mode', 'owner', 'time', 'xattrs']);
});

test('a long list is cut, and says by how much', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}`, '']));
  const found = await compareTrees(small({}), small(files), 10);
  t.is(found.differences.length, 10);
  t.is(found.omitted, 20);
  t.is(found.added, 30);
});

test('trees differ exactly when their snapshots do', async (t) => {
  await fc.assert(
    fc.asyncProperty(modelPair, async ({ base, wanted }) => {
      const a = treeOfModel(base);
      const b = treeOfModel(wanted);
      const { differences } = await compareTrees(a, b);
      const same = JSON.stringify(await snapshot(a)) === JSON.stringify(await snapshot(b));
      t.is(differences.length === 0, same);
      const applied = applyDiff(a, await diffTrees(a, b));
      t.deepEqual((await compareTrees(applied, b)).differences, []);
    }),
    { numRuns: 100 },
  );
});

test('contents are equal when they read the same, holes or not', async (t) => {
  const part = fc.record({
    gap: fc.nat({ max: 40 }),
    bytes: fc.uint8Array({ maxLength: 40, max: 1 }),
  });
  const shape = fc.record({ holes: fc.boolean(), cut: fc.integer({ min: 1, max: 50 }) });
  const side = (parts: { gap: number; bytes: Uint8Array }[], holes: boolean, cut: number) => {
    const whole: number[] = [];
    const extents: [number, number][] = [];
    const data: number[] = [];
    for (const { gap, bytes } of parts) {
      whole.push(...Array<number>(gap + 1).fill(0));
      if (bytes.length > 0) extents.push([whole.length, bytes.length]);
      whole.push(...bytes);
      data.push(...bytes);
    }
    const entry: Entry = { path: 'f', type: 'file', ...numbers, size: whole.length };
    if (holes) entry.extents = extents;
    const stored = Buffer.from(holes ? data : whole);
    const tree = treeOf([entry], async function* () {
      for (let at = 0; at < stored.length; at += cut) yield stored.subarray(at, at + cut);
    });
    return { tree, entry, whole: Buffer.from(whole) };
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(part),
      shape,
      shape,
      fc.option(fc.nat()),
      async (parts, x, y, flip) => {
        const changed = parts.map((p) => ({ ...p, bytes: Uint8Array.from(p.bytes) }));
        const one = changed[(flip ?? 0) % Math.max(1, changed.length)];
        if (flip !== null && one !== undefined && one.bytes.length > 0) {
          one.bytes[flip % one.bytes.length]! ^= 1;
        }
        const a = side(parts, x.holes, x.cut);
        const b = side(changed, y.holes, y.cut);
        t.is(await sameContent(a, b), a.whole.equals(b.whole));
      },
    ),
    { numRuns: 300 },
  );
});
