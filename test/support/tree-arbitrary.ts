import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { Entry } from '../../daemon/images/entry.ts';
import { positioned } from '../../daemon/images/erofs-data.ts';
import { compareBytes } from '../../daemon/images/order.ts';
import { arrangeEntries, type Tree, treeOf } from '../../daemon/images/tree.ts';

type Metadata = Pick<Entry, 'mode' | 'uid' | 'gid' | 'mtime' | 'mtimeNs' | 'xattrs'>;

/** A node of a model tree. The same object under two names is a hard link. */
export interface ModelNode {
  kind: Exclude<Entry['type'], 'hardlink'>;
  metadata: Metadata;
  target: string;
  rdev: [number, number];
  /** Content of a file: bytes at offsets, holes between. */
  size: number;
  data: { offset: number; bytes: Buffer }[];
  children: Map<string, ModelNode>;
}

const name = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('a', 'b', 'c', 'a-', 'a.b', 'A', 'aa') },
  { weight: 1, arbitrary: fc.constantFrom('\xff\x01', '!', '-', '.x', 'n'.repeat(255), '.wh.a') },
);
const time = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(0, 1, 1_700_000_000) },
  { weight: 1, arbitrary: fc.constantFrom(-1, -86_400, 2 ** 33 + 5, -(2 ** 40), 2 ** 40) },
);
const id = fc.constantFrom(0, 0, 0, 1000, 65_536, 4_294_967_294);

/** An access list: owner, one user, group, mask, others. */
const accessList = Buffer.from(
  '02000000' +
    '01000600ffffffff' +
    '02000400d2040000' +
    '04000400ffffffff' +
    '10000600ffffffff' +
    '20000000ffffffff',
  'hex',
).toString('latin1');
/** cap_net_raw+ep, version 2. */
const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex').toString(
  'latin1',
);

function xattrsFor(kind: ModelNode['kind']): fc.Arbitrary<Entry['xattrs']> {
  const pairs: [string, string][] = [
    ['trusted.own', 'x'.repeat(300)],
    ['trusted.own', ''],
    ['security.test', '\0\xff='],
  ];
  if (kind === 'dir' || kind === 'file') {
    pairs.push(['user.text', 'value'], ['user.text', 'other'], ['user.long', 'l'.repeat(3900)]);
    pairs.push(['system.posix_acl_access', accessList]);
  }
  if (kind === 'dir') pairs.push(['system.posix_acl_default', accessList]);
  if (kind === 'file') pairs.push(['security.capability', capability]);
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant<Entry['xattrs']>([]) },
    {
      weight: 1,
      arbitrary: fc
        .uniqueArray(fc.constantFrom(...pairs), { selector: ([key]) => key, maxLength: 3 })
        .map((list) =>
          list.map((p): [string, string] => [...p]).sort((a, b) => compareBytes(a[0], b[0])),
        ),
    },
  );
}

function metadataFor(kind: ModelNode['kind']): fc.Arbitrary<Metadata> {
  return fc.record({
    mode:
      kind === 'symlink' ? fc.constant(0o777) : fc.constantFrom(0o755, 0o644, 0o4755, 0o1777, 0),
    uid: id,
    gid: id,
    mtime: time,
    mtimeNs: fc.constantFrom(0, 0, 1, 999_999_999),
    xattrs: xattrsFor(kind),
  });
}

/** Sizes around the limits of the format: inline, one block, one chunk, holes of whole chunks. */
type Content = Pick<ModelNode, 'size' | 'data'>;
const content: fc.Arbitrary<Content> = fc.oneof(
  fc.tuple(fc.constantFrom(0, 1, 5, 2048, 2049, 4096, 5000, 70_000), fc.constantFrom(0, 1, 65)).map(
    ([size, fill]): Content => ({
      size,
      data: size === 0 ? [] : [{ offset: 0, bytes: Buffer.alloc(size, fill) }],
    }),
  ),
  fc.constantFrom<Content>(
    { size: 300_000, data: [] },
    { size: 300_000, data: [{ offset: 131_072, bytes: Buffer.alloc(10, 7) }] },
    {
      size: 1_000_001,
      data: [
        { offset: 0, bytes: Buffer.alloc(65_536, 1) },
        { offset: 655_360, bytes: Buffer.alloc(344_641, 2) },
      ],
    },
  ),
);

function nodeOf(kind: ModelNode['kind']): fc.Arbitrary<ModelNode> {
  return fc.record({
    kind: fc.constant(kind),
    metadata: metadataFor(kind),
    target: fc.constantFrom('a', '../b', 't'.repeat(300), '\xff'),
    rdev: fc.constantFrom<[number, number]>([1, 3], [259, 70_000], [0, 1]),
    size: fc.constant(0),
    data: fc.constant([]),
    children: fc.constant(null).map(() => new Map()),
  });
}

const leaf: fc.Arbitrary<ModelNode> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(nodeOf('file'), content)
      .map(([file, data]): ModelNode => ({ ...file, ...data })),
  },
  { weight: 2, arbitrary: nodeOf('symlink') },
  {
    weight: 1,
    arbitrary: fc.constantFrom<ModelNode['kind']>('char', 'block', 'fifo', 'socket').chain(nodeOf),
  },
);

const { node } = fc.letrec<{ node: ModelNode; dir: ModelNode }>((tie) => ({
  node: fc.oneof({ depthSize: 'small', withCrossShrink: true }, leaf, tie('dir')),
  dir: fc
    .tuple(nodeOf('dir'), fc.array(fc.tuple(name, tie('node')), { maxLength: 5 }))
    .map(([dir, children]) => ({ ...dir, children: new Map(children) })),
}));

const root: fc.Arbitrary<ModelNode> = fc
  .tuple(nodeOf('dir'), fc.array(fc.tuple(name, node), { maxLength: 8 }))
  .map(([dir, children]) => ({ ...dir, children: new Map(children) }));

/** One step from a base to a wanted tree; `at` and `other` pick among the names there are. */
type Edit =
  | { op: 'remove'; at: number }
  | { op: 'replace'; at: number; node: ModelNode }
  | { op: 'add'; at: number; name: string; node: ModelNode }
  | { op: 'metadata'; at: number; metadata: Metadata }
  | { op: 'content'; at: number }
  | { op: 'link'; at: number; name: string; other: number };

const place = fc.nat({ max: 1000 });
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ op: fc.constant('remove' as const), at: place }),
  fc.record({ op: fc.constant('replace' as const), at: place, node }),
  fc.record({ op: fc.constant('add' as const), at: place, name, node }),
  fc.record({ op: fc.constant('metadata' as const), at: place, metadata: metadataFor('symlink') }),
  fc.record({ op: fc.constant('content' as const), at: place }),
  fc.record({ op: fc.constant('link' as const), at: place, name, other: place }),
);

/** A tree with hard links: what `model` gives, and links made by the edits. */
export const modelTree = fc
  .tuple(root, fc.array(edit, { maxLength: 6 }))
  .map(([tree, edits]) => edited(tree, edits));

/** A base and a tree wanted on top of it: mostly the base with some changes. */
export const modelPair = fc
  .tuple(modelTree, fc.array(edit, { maxLength: 8 }), root, fc.nat({ max: 9 }))
  .map(([base, edits, other, pick]) => ({
    base,
    wanted: pick === 0 ? other : edited(base, edits),
  }));

interface Place {
  folder: ModelNode;
  name: string;
  node: ModelNode;
}

function placesOf(folder: ModelNode): Place[] {
  return [...folder.children].flatMap(([key, child]) => [
    { folder, name: key, node: child },
    ...placesOf(child),
  ]);
}

/** A copy of a model that keeps its hard links. */
function copied(from: ModelNode, known = new Map<ModelNode, ModelNode>()): ModelNode {
  const before = known.get(from);
  if (before !== undefined) return before;
  const children = new Map<string, ModelNode>();
  const copy = { ...from, metadata: { ...from.metadata }, data: [...from.data], children };
  known.set(from, copy);
  for (const [key, child] of from.children) copy.children.set(key, copied(child, known));
  return copy;
}

function edited(from: ModelNode, edits: Edit[]): ModelNode {
  const tree = copied(from);
  for (const step of edits) applyEdit(tree, step);
  return tree;
}

function applyEdit(tree: ModelNode, step: Edit): void {
  const places = placesOf(tree);
  const at = places[step.at % Math.max(1, places.length)];
  const folders = [tree, ...places.map(({ node: n }) => n).filter(({ kind }) => kind === 'dir')];
  const folder = folders[step.at % folders.length] as ModelNode;
  if (step.op === 'add') folder.children.set(step.name, copied(step.node));
  else if (at === undefined) return;
  else if (step.op === 'remove') at.folder.children.delete(at.name);
  else if (step.op === 'replace') at.folder.children.set(at.name, copied(step.node));
  else if (step.op === 'metadata') {
    const mode = at.node.kind === 'symlink' ? 0o777 : step.metadata.mode & 0o755;
    at.node.metadata = { ...step.metadata, mode };
  } else if (step.op === 'content') {
    const first = at.node.data[0];
    if (first !== undefined) {
      const bytes = Buffer.from(first.bytes);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 0xff;
      at.node.data = [{ ...first, bytes }, ...at.node.data.slice(1)];
    }
  } else if (step.op === 'link') {
    const other = places[step.other % places.length]?.node;
    if (other !== undefined && other.kind !== 'dir') folder.children.set(step.name, other);
  }
}

/** The tree that a model describes. */
export function treeOfModel(model: ModelNode): Tree {
  const entries: Entry[] = [];
  const nodes = new Map<Entry, ModelNode>();
  const firstNames = new Map<ModelNode, string>();
  const visit = (path: string, from: ModelNode): void => {
    const target = firstNames.get(from);
    if (target !== undefined) {
      const zero = { mode: 0, uid: 0, gid: 0, mtime: 0, mtimeNs: 0 };
      entries.push({ path, type: 'hardlink', ...zero, xattrs: [], target });
      return;
    }
    if (from.kind !== 'dir') firstNames.set(from, path);
    const entry = describe(path, from);
    entries.push(entry);
    nodes.set(entry, from);
    for (const [key, child] of from.children) visit(path === '' ? key : `${path}/${key}`, child);
  };
  visit('', model);
  return treeOf(arrangeEntries(entries), async function* (entry) {
    for (const { bytes } of nodes.get(entry)?.data ?? []) yield bytes;
  });
}

function describe(path: string, from: ModelNode): Entry {
  const entry: Entry = { path, type: from.kind, ...from.metadata };
  entry.xattrs = from.metadata.xattrs.map(([key, value]) => [key, value]);
  if (from.kind === 'symlink') entry.target = from.target;
  if (from.kind === 'char' || from.kind === 'block') entry.rdev = from.rdev;
  if (from.kind !== 'file') return entry;
  entry.size = from.size;
  const stored = from.data.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (stored !== from.size) {
    entry.extents = from.data.map(({ offset, bytes }) => [offset, bytes.length]);
  }
  return entry;
}

/** Everything about a tree that must survive: entries without extents, and a digest of each content. */
export async function snapshot(tree: Tree): Promise<object[]> {
  const all: object[] = [];
  for (const { extents: _, ...entry } of tree.entries) {
    const original = tree.entries[all.length] as Entry;
    if (entry.type !== 'file') all.push(entry);
    else all.push({ ...entry, content: await digestOf(tree, original) });
  }
  return all;
}

async function digestOf(tree: Tree, entry: Entry): Promise<string> {
  const hash = createHash('sha256');
  let end = 0;
  const size = entry.size ?? 0;
  for await (const [offset, bytes] of positioned(entry, tree.read(entry))) {
    hash.update(Buffer.alloc(offset - end)).update(bytes);
    end = offset + bytes.length;
  }
  return hash.update(Buffer.alloc(size - end)).digest('hex');
}
