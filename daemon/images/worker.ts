import { writeSync } from 'node:fs';
import { PersonaError, toWire } from '../../ipc/errors.ts';
import { applyDiff } from './apply.ts';
import { fileSource } from './byte-source.ts';
import { compareTrees, differencesMax } from './compare.ts';
import { diffTrees } from './diff.ts';
import { openErofs } from './erofs-reader.ts';
import { writeErofs } from './erofs-writer.ts';
import { osOf } from './os-release.ts';
import { listingPrivileges } from './privileges.ts';
import { readers } from './readers.ts';
import { decode, encode } from './stream.ts';
import { scanTar } from './tar-scan.ts';
import { itemsOf, type Tree } from './tree.ts';
import { parseArguments, type Side, type WorkerArguments } from './worker-arguments.ts';
import type { Answers } from './worker-persona.ts';

// The program that the daemon runs in confined children: everything foreign is parsed here, and
// images are written here. It gets open descriptors and arguments, and opens nothing itself.
//
//   read FORMAT   fd 3: image or archive              -> entry stream on standard output
//   write         standard input: entry stream        -> erofs image in fd 3; JSON on standard output
//   diff          fd 3: base image, fd 4: wanted one  -> entry stream of the layer
//   merge SIDE    images, the base first              -> entry stream of the tree they show together
//   compare A B   two such sides                      -> JSON on standard output
//   os            fd 3: base image                    -> JSON: what it says of itself
//   members       fd 3: tar                           -> a line of JSON for each member, as it is found
//   (and the modes for persona files: worker-persona.ts)
//
// It ends with status 0, or 1 and one line of JSON (the wire form of the error) on standard error.

const input = 3;
const second = 4;

type Mode = (args: WorkerArguments, answers: Answers) => Promise<void>;

const modes: Record<string, Mode> = {
  async read(args) {
    const open = await readers[args.format]?.();
    if (open === undefined) throw new PersonaError('internal', `no format ${args.format}`);
    const { limits, offset, size, kind, spoolFd, partition } = args;
    await sendTree(await open(input, { limits, offset, kind, ...size, ...spoolFd, ...partition }));
  },

  async write({ limits, kind }) {
    const privileges = listingPrivileges(decode(process.stdin, { limits, kind }));
    const written = await writeErofs(privileges.items, input);
    sendJson({ ...written, privileged: privileges.found });
  },

  async diff({ limits, offset, secondOffset }) {
    const base = await openErofs(input, { limits, offset });
    const wanted = await openErofs(second, { limits, offset: secondOffset });
    await sendTree(await diffTrees(base, wanted));
  },

  async merge(args) {
    await sendTree(await openSide(args.sides[0] ?? [], args));
  },

  async compare(args) {
    const [a, b] = args.sides;
    const before = await openSide(a ?? [], args);
    const after = await openSide(b ?? [], args);
    sendJson(await compareTrees(before, after, args.most ?? differencesMax));
  },

  async os({ limits, offset }) {
    sendJson(await osOf(await openErofs(input, { limits, offset })));
  },

  async members({ limits }) {
    for (const { name, type, size, extents, dataOffset } of scanTar(fileSource(input), limits))
      await send(
        `${JSON.stringify({ name, type, size, sparse: extents !== undefined, dataOffset })}\n`,
      );
  },
};

/** The tree that some images show when they lie on top of each other, the first at the bottom. */
async function openSide(side: Side, { limits }: WorkerArguments): Promise<Tree> {
  let tree: Tree | undefined;
  for (const { fd, offset } of side) {
    const kind = tree === undefined ? 'tree' : 'layer';
    const image = await openErofs(fd, { limits, offset, kind });
    tree = tree === undefined ? image : applyDiff(tree, image);
  }
  if (tree === undefined) throw new PersonaError('internal', 'a side without images');
  return tree;
}

async function sendTree(tree: Tree): Promise<void> {
  for await (const bytes of encode(itemsOf(tree))) await send(bytes);
  await tree.close();
}

function send(bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

function sendJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function main(): Promise<void> {
  const args = parseArguments(process.argv.slice(2));
  const answers = { tree: sendTree, json: sendJson };
  const mode = modes[args.mode] ?? (await import('./worker-persona.ts')).personaModes[args.mode];
  if (mode === undefined) throw new PersonaError('internal', `no mode ${args.mode}`);
  await mode(args, answers);
}

// The write itself reports a reader that went away.
process.stdout.on('error', () => {});

try {
  await main();
} catch (error) {
  writeSync(2, `${JSON.stringify(toWire(error))}\n`);
  process.exitCode = 1;
  // What is left of the input is not read: the other end sees the pipe close.
  process.stdin.destroy();
}
