import { readSync, writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { PersonaError } from '../../ipc/errors.ts';
import { parseApplicationList, refuseApplications } from './application-list.ts';
import { applyDiff } from './apply.ts';
import { fileSource } from './byte-source.ts';
import { canonicalJson } from './canonical-json.ts';
import { compareTrees, differencesMax } from './compare.ts';
import { openDataSeed } from './data-seed.ts';
import type { Entry } from './entry.ts';
import { openErofs } from './erofs-reader.ts';
import { writeAll } from './image-sink.ts';
import type { OspContentName } from './osp-members.ts';
import { ospBytesMax, ospMembers } from './osp-members.ts';
import { readOsp } from './osp-reader.ts';
import type { OspSignature } from './osp-signature.ts';
import { type OspFacts, prepareOsp } from './osp-writer.ts';
import { listingPrivileges } from './privileges.ts';
import { readers } from './readers.ts';
import { parseRuntimeConfig, runtimeTree } from './runtime-config.ts';
import { settleOn } from './settle.ts';
import { treeToTar } from './tar-writer.ts';
import { filtered, touchedBy } from './touched.ts';
import { itemsOf, type Tree } from './tree.ts';
import type { Side, WorkerArguments } from './worker-arguments.ts';

/** The image or member that a mode works on. */
const input = 3;
const second = 4;

/** Facts of a persona file for the daemon; its large members stay in the file. */
export interface OspReport {
  metadata: Awaited<ReturnType<typeof readOsp>>['metadata'];
  identity: string;
  members: Record<string, { offset: number; size: number }>;
  signature?: OspSignature;
  environment: Record<string, string>;
  /** Plain files that the runtime configuration brings. */
  files: number;
  inPlace: boolean;
}

/** What `pack` is told, as one line of JSON on its standard input. */
export interface PackOrder {
  facts: OspFacts;
  /** Where each member lies. */
  members: Record<OspContentName, { fd: number; offset: number; size: number }>;
}

/** What `pack` answers in the end. */
export interface PackReport {
  identity: string;
  size: number;
  diffOffset: number;
}

/** What `inputs` answers. */
export interface InputsReport {
  /** The content of runtime_config.json. */
  text: string;
  /** Plain files in it. */
  files: number;
  environment: Record<string, string>;
}

/** How a mode hands over what it made. */
export interface Answers {
  tree(tree: Tree): Promise<void>;
  json(value: unknown): void;
}

/** One side of a comparison. `layers` are the images above the base. */
async function openOverlaid(
  side: Side,
  { limits }: WorkerArguments,
): Promise<{ tree: Tree; layers: Tree[] }> {
  const [first, ...rest] = side;
  if (first === undefined) throw new PersonaError('internal', 'a side without images');
  let tree = await openErofs(first.fd, { limits, offset: first.offset });
  const layers: Tree[] = [];
  for (const { fd, offset } of rest) {
    const layer = await openErofs(fd, { limits, offset, kind: 'layer' });
    layers.push(layer);
    tree = applyDiff(tree, layer);
  }
  return { tree, layers };
}

/** The lower images, the base first: folders of an added layer take their owner and mode from there. */
async function lowerOf(
  side: Side,
  args: WorkerArguments,
): Promise<(path: string) => Entry | undefined> {
  const { tree } = await openOverlaid(side, args);
  const entries = new Map(tree.entries.map((entry) => [entry.path, entry]));
  return (path) => entries.get(path);
}

/** A folder that an archive did not describe: the form that the tar reader gives those. */
function isImplied({ type, mode, uid, gid, mtime, mtimeNs, xattrs }: Entry): boolean {
  const plain = mode === 0o755 && uid === 0 && gid === 0 && mtime === 0 && mtimeNs === 0;
  return type === 'dir' && plain && xattrs.length === 0;
}

/** Gives folders that a layer only passes through the look they have below. */
function withKnownFolders(layer: Tree, lower: (path: string) => Entry | undefined): Tree {
  const original = new Map<Entry, Entry>();
  const entries = layer.entries.map((entry) => {
    const below = isImplied(entry) ? lower(entry.path) : undefined;
    if (below?.type !== 'dir') return entry;
    const known = { ...below, path: entry.path };
    original.set(known, entry);
    return known;
  });
  return {
    entries,
    read: (entry) => layer.read(original.get(entry) ?? entry),
    close: () => layer.close(),
  };
}

/** A small input, whole. */
function wholeFile(fd: number, name: keyof typeof ospBytesMax): Buffer {
  const source = fileSource(fd);
  if (source.size <= ospBytesMax[name]) return source.read(0, source.size);
  throw new PersonaError('bad-persona', `${name} is over ${ospBytesMax[name]} bytes`);
}

/** One line from standard input, which nobody else reads. */
function readLine(): string {
  const pieces: Buffer[] = [];
  const piece = Buffer.alloc(64 * 1024);
  for (;;) {
    const got = readSync(0, piece, 0, piece.length, null);
    if (got === 0)
      throw new PersonaError('internal', 'the order for a persona file ends too early');
    const end = piece.subarray(0, got).indexOf(10);
    pieces.push(Buffer.from(piece.subarray(0, end < 0 ? got : end)));
    if (end >= 0) return Buffer.concat(pieces).toString('utf8');
  }
}

/**
 * The modes for persona files, beside those for images:
 *
 *   osp           fd 3: persona file                     -> JSON: OspReport
 *   layer SIDE    fd 3: foreign difference image         -> entry stream of the layer; SIDE is its base
 *   seed SIDE     fd 3: file with data_seed.tar.gz       -> entry stream of the layer, settled on SIDE
 *   runtime SIDE  fd 3: file with runtime_config.json    -> entry stream of the layer, settled on SIDE
 *   seed-tar      fd 3: erofs image                      -> gzip of its tar on standard output
 *   inspect       fd 3: difference image of ours         -> JSON: its privileges
 *   differences A B   two sides on one and the same base -> JSON: Comparison, reading only what their layers touch
 *   inputs        fd 3: runtime configuration or empty, fd 4: application list; a line of JSON with further variables
 *                 on standard input                      -> JSON: InputsReport
 *   pack          fd 3: new file; order and signature as lines on standard input, metadata and report as lines on
 *                 standard output
 */
export const personaModes: Record<
  string,
  (args: WorkerArguments, answers: Answers) => Promise<void>
> = {
  async osp(_args, answers) {
    const { runtime, applications: _none, ...osp } = await readOsp(input);
    const report: OspReport = {
      ...osp,
      environment: runtime.environment,
      files: runtime.files.length,
    };
    answers.json(report);
  },

  async layer(args, answers) {
    const { limits, offset, size, spoolFd } = args;
    const open = await readers.auto?.();
    if (open === undefined) throw new PersonaError('internal', 'no reader');
    const layer = await open(input, { limits, offset, kind: 'layer', ...size, ...spoolFd });
    await answers.tree(withKnownFolders(layer, await lowerOf(args.sides[0] ?? [], args)));
  },

  async seed(args, answers) {
    const { limits, offset, size, spoolFd } = args;
    const seed = fileSource(input, offset, size.size);
    const layer = await openDataSeed(seed, { limits, ...spoolFd });
    const lower = await lowerOf(args.sides[0] ?? [], args);
    await answers.tree(settleOn(layer, lower, ospMembers.seed));
  },

  async runtime(args, answers) {
    const source = fileSource(input, args.offset, args.size.size);
    const config = parseRuntimeConfig(source.read(0, source.size));
    const lower = await lowerOf(args.sides[0] ?? [], args);
    await answers.tree(settleOn(runtimeTree(config), lower, ospMembers.runtime));
  },

  async 'seed-tar'({ limits, offset }) {
    const tree = await openErofs(input, { limits, offset });
    await pipeline(Readable.from(treeToTar(tree)), createGzip(), process.stdout);
  },

  async inspect({ limits, offset }, answers) {
    const image = await openErofs(input, { limits, offset, kind: 'layer' });
    const { items, found } = listingPrivileges(itemsOf(image));
    for await (const _item of items);
    answers.json({ entries: image.entries.length, privileged: found });
  },

  async differences(args, answers) {
    const [a, b] = args.sides;
    const before = await openOverlaid(a ?? [], args);
    const after = await openOverlaid(b ?? [], args);
    const isTouched = touchedBy([...before.layers, ...after.layers]);
    const left = filtered(before.tree, isTouched);
    const right = filtered(after.tree, isTouched);
    answers.json(await compareTrees(left, right, args.most ?? differencesMax));
  },

  async inputs(_args, answers) {
    const { environment } = JSON.parse(readLine()) as { environment: Record<string, string> };
    refuseApplications(parseApplicationList(wholeFile(second, ospMembers.applications)));
    const given = wholeFile(input, ospMembers.runtime);
    const config = given.length === 0 ? undefined : parseRuntimeConfig(given);
    const all = { ...config?.environment, ...environment };
    const files = (config?.files ?? []).map(({ path, mode, content }) => ({
      path: `/${Buffer.from(path, 'latin1').toString('utf8')}`,
      mode: `0${mode.toString(8).padStart(3, '0')}`,
      content_base64: content.toString('base64'),
    }));
    const text = canonicalJson({ environment: all, files });
    // Once more as a whole: the further variables are checked like the others.
    parseRuntimeConfig(Buffer.from(text));
    answers.json({ text, files: files.length, environment: all } satisfies InputsReport);
  },

  async pack(_args, answers) {
    const { facts, members } = JSON.parse(readLine()) as PackOrder;
    const sources = Object.entries(members).map(([name, { fd, offset, size }]) => {
      return [name, fileSource(fd, offset, size)] as const;
    });
    const prepared = await prepareOsp({
      facts,
      members: Object.fromEntries(sources) as Record<OspContentName, (typeof sources)[0][1]>,
      // The key stays with the daemon, which looks at what it signs.
      sign(metadata) {
        writeSync(1, `${metadata.toString('utf8')}\n`);
        return JSON.parse(readLine()) as OspSignature;
      },
    });
    let at = 0;
    for await (const bytes of prepared.bytes()) {
      await writeAll(input, bytes, at);
      at += bytes.length;
    }
    const { identity, size, diffOffset } = prepared;
    answers.json({ identity, size, diffOffset } satisfies PackReport);
  },
};
