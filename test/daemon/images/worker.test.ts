import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { Entry } from '../../../daemon/images/entry.ts';
import { writeErofs } from '../../../daemon/images/erofs-writer.ts';
import { encode } from '../../../daemon/images/stream.ts';
import { itemsOf, type Tree, treeOf } from '../../../daemon/images/tree.ts';
import { temporaryFolder } from '../../support/temp.ts';

const worker = fileURLToPath(new URL('../../../daemon/images/worker.ts', import.meta.url));
const numbers = { mode: 0o755, uid: 0, gid: 0, mtime: 7, mtimeNs: 0, xattrs: [] };

/** A tree of files with their text. */
function small(files: Record<string, string>, mode = 0o644): Tree {
  const entries: Entry[] = [{ path: '', type: 'dir', ...numbers }];
  for (const [path, content] of Object.entries(files)) {
    entries.push({ path, type: 'file', ...numbers, mode, size: content.length });
  }
  return treeOf(entries, async function* ({ path }) {
    yield Buffer.from(files[path] ?? '');
  });
}

async function image(t: ExecutionContext, tree: Tree): Promise<string> {
  const path = join(temporaryFolder(t), 'image');
  const fd = openSync(path, 'wx+');
  await writeErofs(itemsOf(tree), fd);
  closeSync(fd);
  return path;
}

interface Answer {
  status: number | null;
  stdout: Buffer;
  stderr: string;
}

/** Runs the worker with files as descriptors 3, 4, ... */
async function work(
  args: string[],
  files: string[],
  input?: AsyncIterable<Buffer>,
): Promise<Answer> {
  const fds = files.map((path) => openSync(path, 'r+'));
  const child = spawn(process.execPath, ['--no-warnings', worker, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', ...fds],
  });
  for (const fd of fds) closeSync(fd);
  const status = new Promise<number | null>((resolve) => child.once('close', resolve));
  // A worker that refuses its input closes the pipe early.
  const sent = pipeline(input ?? [], child.stdin!).catch(() => {});
  const [stdout, stderr] = await Promise.all([buffer(child.stdout!), text(child.stderr!), sent]);
  return { status: await status, stdout, stderr };
}

test('read and write make the same image again', async (t) => {
  const from = await image(t, small({ a: 'text', b: 'x'.repeat(100_000) }));
  const to = join(temporaryFolder(t), 'image');
  writeFileSync(to, '');
  const read = await work(['read', 'erofs'], [from]);
  t.is(read.status, 0);
  const written = await work(['write'], [to], pieces(read.stdout));
  t.is(written.status, 0);
  t.like(JSON.parse(String(written.stdout)), { entries: 3, inodes: 3 });
  t.true(readFileSync(from).equals(readFileSync(to)));
});

test('diff and compare tell the same story', async (t) => {
  const base = await image(t, small({ a: 'text', b: 'x' }));
  const wanted = await image(t, small({ a: 'text', c: 'new' }));
  const layer = join(temporaryFolder(t), 'layer');
  writeFileSync(layer, '');
  const diff = await work(['diff'], [base, wanted]);
  t.is((await work(['write', '--layer'], [layer], pieces(diff.stdout))).status, 0);
  const merged = await work(['merge', '3+4@0'], [base, layer]);
  t.true(merged.stdout.equals((await work(['read', 'erofs'], [wanted])).stdout));
  const compared = await work(['compare', '3', '3+4'], [base, layer]);
  t.like(JSON.parse(String(compared.stdout)), { added: 1, removed: 1, changed: 0 });
});

test('an image is read from inside another file', async (t) => {
  const path = await image(t, small({ a: 'text' }));
  const plain = await work(['read', 'erofs'], [path]);
  writeFileSync(path, Buffer.concat([Buffer.alloc(8192, 1), readFileSync(path), Buffer.alloc(99)]));
  const inside = await work(['read', 'erofs', '--offset=8192'], [path]);
  t.true(inside.stdout.equals(plain.stdout));
});

test('entries with rights are listed', async (t) => {
  const to = join(temporaryFolder(t), 'image');
  writeFileSync(to, '');
  const written = await work(['write'], [to], encode(itemsOf(small({ su: '' }, 0o6755))));
  t.like(JSON.parse(String(written.stdout)).privileged, {
    setuid: 1,
    setgid: 1,
    device: 0,
    examples: [
      { path: 'su', why: 'setuid' },
      { path: 'su', why: 'setgid' },
    ],
  });
});

test('a reader that goes away ends it with one line, too', async (t) => {
  const path = await image(t, small({ a: 'x'.repeat(5_000_000) }));
  const fd = openSync(path, 'r');
  const child = spawn(process.execPath, ['--no-warnings', worker, 'read', 'erofs'], {
    stdio: ['ignore', 'pipe', 'pipe', fd],
  });
  closeSync(fd);
  const status = new Promise((resolve) => child.once('exit', resolve));
  child.stdout!.once('data', () => child.stdout!.destroy());
  t.regex(await text(child.stderr!), /^\{.*EPIPE.*\}\n$/);
  t.is(await status, 1);
});

const refused: Record<string, [code: string, args: string[], input: string]> = {
  'garbage as a stream': ['bad-image', ['write'], 'garbage in, nothing out'],
  'no stream at all': ['bad-image', ['write'], ''],
  'garbage as an image': ['bad-image', ['read', 'erofs'], ''],
  'an unknown mode': ['internal', ['dance'], ''],
  'an unknown format': ['internal', ['read', 'hasOwnProperty'], ''],
  'an unknown option': ['internal', ['read', 'erofs', '--loud'], ''],
  'a limit': ['limit-exceeded', ['write', '--limits={"headerBytes":10}'], 'PENT1\n\xff\0\0\0'],
};

for (const [title, [code, args, input]] of Object.entries(refused)) {
  test(`it says in one line what is wrong: ${title}`, async (t) => {
    const file = join(temporaryFolder(t), 'file');
    writeFileSync(file, 'no image');
    const answer = await work(args, [file], pieces(Buffer.from(input, 'latin1')));
    t.is(answer.status, 1);
    t.is(answer.stdout.length, 0);
    t.is(answer.stderr.trim().split('\n').length, 1);
    t.like(JSON.parse(answer.stderr), { code });
  });
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
