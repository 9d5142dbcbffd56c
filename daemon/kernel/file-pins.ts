import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { childIds } from './child-ids.ts';
import { KernelError } from './errno.ts';
import { CLEAN_ENV } from './exec.ts';
import type { Fd } from './fd.ts';
import type { OwnedProcess } from './placed-process.ts';
import { processStat } from './processes.ts';
import { nativeProgram } from './program-files.ts';

/** Files that are kept in memory by a child. */
export interface FilePins {
  bytes: number;
  files: number;
  /** Settles when they are not kept any more, whoever has ended the child. */
  gone: Promise<void>;
  /** Lets go of them. Resolves when the child has ended. */
  release(): Promise<void>;
}

/** Reading what is to be kept may take so long. */
const DEADLINE_MS = 60_000;
const LINE_MAX = 64;

/** The one line that it says. */
async function said(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const piece of child.stdout as Readable) {
    text += String(piece);
    if (text.includes('\n') || text.length > LINE_MAX) break;
  }
  return text;
}

/** What the child is started with. */
export interface Pinning {
  bytesMax: number;
  /** Puts the child into the control group that what it reads counts to. */
  place(process: OwnedProcess): Promise<boolean>;
  /** Ends it, however far it is. */
  signal?: AbortSignal;
}

/** Keeps files in memory, as many of them as fit into `bytesMax` together, until they are let go of, or this process ends, however it does. */
export async function pinFiles(
  files: readonly Fd[],
  { bytesMax, place, signal }: Pinning,
): Promise<FilePins> {
  const child = spawn(nativeProgram('file-pins'), [`${bytesMax}`, `${childIds.pins}`], {
    cwd: '/',
    env: CLEAN_ENV,
    // A terminal that ends us does not end it before we let go.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit', ...files.map(({ number }) => number)],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await once(child, 'spawn');
  const input = child.stdin as Socket;
  input.on('error', () => undefined);
  const kill = () => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill);
  const release = async () => {
    signal?.removeEventListener('abort', kill);
    child.ref();
    kill();
    await ended;
  };
  try {
    // Who has given up before is not heard again.
    signal?.throwIfAborted();
    const process = processStat(child.pid as number);
    if (process === undefined || !(await place(process)))
      throw new KernelError('file-pins', 'ESRCH', 'it has no control group');
    input.write('\n');
    const late = pause(DEADLINE_MS, '', { ref: false });
    const [, bytes, count] = /^(\d+) (\d+)\n$/.exec(await Promise.race([said(child), late])) ?? [];
    if (bytes === undefined) throw new KernelError('file-pins', 'EIO', 'it says nothing');
    if (count === '0') throw new KernelError('file-pins', 'ENOMEM', 'no file could be locked');
    // Nobody waits for it: this process ends when it has nothing else to do.
    child.unref();
    input.unref();
    return { bytes: Number(bytes), files: Number(count), gone: ended, release };
  } catch (error) {
    await release();
    throw error;
  }
}
