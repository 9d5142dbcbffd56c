import type { FileHandle } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { PersonaError } from '../../ipc/errors.ts';
import type { Privileges } from '../images/privileges.ts';
import { confinedLimits, startConfined } from '../kernel/confined.ts';
import { type Child, ProgramFailed } from '../kernel/exec.ts';
import { removeFile } from '../kernel/files.ts';
import { confinedWorker } from '../kernel/program-files.ts';
import { createSealed, hashOf } from '../kernel/sealed.ts';
import { childFailure, killedFailure, noSpace } from './child-failure.ts';
import { writeAt } from './staging.ts';

/** Longest time of one step that works in children, and of each child: more than the largest image needs. */
export const stepTimeoutMs = 4 * 60 * 60_000;
/** Answers of children that are one JSON value: a list of differences is the longest. */
const answerBytesMax = 64 * 1024 * 1024;

/** Of a conversation: metadata of a persona is the longest that is said. */
const lineCharsMax = 1024 * 1024;

/** The file system that children write to. */
export interface WrittenSpace {
  /** Bytes that may be written beside what is kept free; below 0 when others have taken of that. */
  spareBytes(): number;
}
/** Free space is looked at this often while an image is built: no disk takes what is kept free in that time. */
const lookEveryMs = 200;

/** What every piece of work in children is told. */
export interface Work {
  signal: AbortSignal;
  /** Where the children write. Work that writes nothing but its answer names none. */
  space?: WrittenSpace;
  /** Sees the number of bytes that have passed so far. */
  onBytes?: (done: number) => void;
}

/** An image written by our own writer: complete, durable, hashed through its own descriptor. */
export interface BuiltImage {
  digest: string;
  bytes: number;
  entries: number;
  privileges: Privileges;
}

/**
 * Starts the image worker in a confined child; it sees `files` as descriptors 3, 4, ... and nothing else. What it may write in them is
 * bounded by what `space` can spare: a small file may unpack to any length.
 */
export async function startWorker(
  args: readonly string[],
  files: readonly FileHandle[],
  options: { input?: boolean; space?: WrittenSpace | undefined } = {},
): Promise<Child> {
  const spare = options.space?.spareBytes() ?? confinedLimits.fileBytes;
  const fileBytes = Math.min(Math.max(0, spare), confinedLimits.fileBytes);
  return await startConfined({
    ...confinedWorker(args),
    deadlineMs: stepTimeoutMs,
    fds: files.map(({ fd }) => fd),
    ...(options.input === undefined ? {} : { input: options.input }),
    limits: { fileBytes },
  });
}

/** Runs a worker to its end and returns the JSON it answers. Throws what it reports. */
export async function askWorker(
  args: readonly string[],
  files: readonly FileHandle[],
  work: Work,
  input?: (child: Child) => void,
): Promise<unknown> {
  const child = await startWorker(args, files, { input: input !== undefined });
  return await guarded([child], work, async () => {
    input?.(child);
    const text = await readText(child);
    await child.done;
    return JSON.parse(text) as unknown;
  });
}

/**
 * Runs a worker that asks one question: `order` goes in as a line of JSON, its first line comes out and is answered
 * with a line of JSON, and what it says in the end is returned. Throws what it reports.
 */
export async function converse(
  args: readonly string[],
  files: readonly FileHandle[],
  work: Work,
  talk: { order: unknown; answer: (question: string) => unknown },
): Promise<unknown> {
  const child = await startWorker(args, files, { input: true });
  return await guarded([child], work, async () => {
    const say = (value: unknown): void => void child.stdin?.write(`${JSON.stringify(value)}\n`);
    say(talk.order);
    let said = '';
    let asked = false;
    for await (const piece of child.stdout as AsyncIterable<Buffer>) {
      said += piece.toString('utf8');
      if (said.length > lineCharsMax) throw new PersonaError('internal', 'a worker talks too much');
      const end = said.indexOf('\n');
      if (asked || end < 0) continue;
      asked = true;
      say(talk.answer(said.slice(0, end)));
      said = said.slice(end + 1);
    }
    await child.done;
    return JSON.parse(said) as unknown;
  });
}

async function readText(child: Child): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of child.stdout as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > answerBytesMax) {
      throw new PersonaError('limit-exceeded', {
        what: 'an answer about it',
        limit: answerBytesMax,
      });
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Kills a child. It has not ended before its output has: what nobody will read is dropped. */
function endChild(child: Child): void {
  child.kill();
  child.stdout.destroy();
}

/**
 * Does `work` with children that all end with it, however it ends: also when what is kept free is no longer free, whoever took it. A
 * child's own report is the error that counts.
 */
async function guarded<T>(
  children: readonly Child[],
  { signal, space }: Work,
  work: () => Promise<T>,
): Promise<T> {
  let full = false;
  const stop = (): void => {
    for (const child of children) endChild(child);
  };
  const look = (): void => {
    full ||= space !== undefined && space.spareBytes() < 0;
    if (full) stop();
  };
  const looking = space && setInterval(look, lookEveryMs);
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    return await work();
  } catch (error) {
    if (signal.aborted) throw new PersonaError('cancelled');
    if (full) throw noSpace();
    const { reports, killed } = await settledReports(children, stop);
    throw killed ?? reports.find(isTold) ?? reports[0] ?? childFailure(error);
  } finally {
    clearInterval(looking);
    signal.removeEventListener('abort', stop);
    stop();
    await Promise.allSettled(children.map(({ done }) => done));
  }
}

function isTold(error: unknown): boolean {
  return error instanceof PersonaError && error.code !== 'tool-failed';
}

/**
 * How long the others may take to say why they ended, once one of them has failed. One that was killed takes its namespaces with it,
 * which was seen to last more than 2 s on a busy machine.
 */
const lastWordsMs = 10_000;

/**
 * What the children say went wrong, in the order of the pipe: the first fault is upstream. One that was killed, and not by
 * us, is the cause whatever the others say of what it left them.
 */
async function settledReports(
  children: readonly Child[],
  stop: () => void,
): Promise<{ reports: unknown[]; killed: unknown }> {
  let stopped = false;
  const timer = setTimeout(() => {
    stopped = true;
    stop();
  }, lastWordsMs);
  // What a child leaves behind may take longer to end than itself.
  const notByUs = new Set<Child>();
  for (const child of children) void child.exited.then(() => stopped || notByUs.add(child));
  const ends = await Promise.allSettled(children.map(({ done }) => done));
  clearTimeout(timer);
  const reasonOf = (end: PromiseSettledResult<unknown>): unknown[] =>
    end.status === 'rejected' ? [end.reason] : [];
  const killed = ends
    .filter((_, at) => notByUs.has(children[at]!))
    .flatMap(reasonOf)
    .find(wasKilled);
  return {
    reports: ends.flatMap(reasonOf).map(childFailure),
    killed: killed && killedFailure(killed),
  };
}

/** Ended by a signal: its own, or (then in its status) that of the process inside. */
function wasKilled(error: unknown): error is ProgramFailed {
  if (!(error instanceof ProgramFailed)) return false;
  const { signal, status = 0 } = error.ended;
  return signal !== undefined || status > 128;
}

/** An image is written to the state tree, whose space is watched meanwhile. */
type Building = Work & { layer?: boolean; space: WrittenSpace };

/** The new file at `path`, and a child that writes an image into it. */
async function startWriter(
  path: string,
  { layer, space }: Building,
): Promise<{ out: FileHandle; writer: Child }> {
  await removeFile(path);
  const out = await createSealed(path);
  try {
    const args = ['write', ...(layer === true ? ['--layer'] : [])];
    return { out, writer: await startWorker(args, [out], { input: true, space }) };
  } catch (error) {
    await out.close();
    throw error;
  }
}

/**
 * Builds an image from an entry stream: `source` (a reader in a child) -> the daemon, which counts -> the writer in
 * another confined child -> the new file at `path`, which is synced and hashed by its own descriptor. A file that a
 * run before left there is replaced. Throws what the children report; the file is then of no use.
 */
export async function buildImage(source: Child, path: string, work: Building): Promise<BuiltImage> {
  const { out, writer } = await startWriter(path, work).catch((error: unknown) => {
    endChild(source);
    throw error;
  });
  try {
    const written = await guarded([source, writer], work, async () => {
      const answer = readText(writer);
      answer.catch(() => {});
      await pipeline(source.stdout, counter(work.onBytes), writer.stdin!);
      await Promise.all([source.done, writer.done]);
      return JSON.parse(await answer) as { bytes: number; entries: number; privileged: Privileges };
    });
    await out.sync();
    const digest = await hashOf(out);
    return {
      digest,
      bytes: written.bytes,
      entries: written.entries,
      privileges: written.privileged,
    };
  } finally {
    await out.close();
  }
}

/** Writes what a child sends into the open new file, which is then synced. Throws what the child reports. */
export async function saveOutput(child: Child, out: FileHandle, work: Work): Promise<void> {
  await guarded([child], work, async () => {
    let done = 0;
    for await (const piece of child.stdout as AsyncIterable<Buffer>) {
      await writeAt(out, piece, done);
      done += piece.length;
      work.onBytes?.(done);
    }
    await child.done;
  });
  await out.sync();
}

function counter(onBytes: (done: number) => void = () => {}): Transform {
  let done = 0;
  return new Transform({
    transform(piece: Buffer, _encoding, next) {
      done += piece.length;
      onBytes(done);
      next(null, piece);
    },
  });
}
