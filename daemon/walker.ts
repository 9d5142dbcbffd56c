/**
 * The program that reads a user's tree as that user. Its standard input names the user and the tree (one JSON line
 * from the daemon), its standard output is the canonical entry stream, its errors are one JSON line (the wire form) on
 * standard error with exit status 1.
 */
import { readFileSync, writeSync } from 'node:fs';
import { PersonaError, toWire } from '../ipc/errors.ts';
import { defaultLimits } from './images/limits.ts';
import { encode } from './images/stream.ts';
import type { Item } from './images/tree.ts';
import { becomeCaller, type Caller } from './kernel/become-caller.ts';
import { KernelError } from './kernel/errno.ts';
import { openTree, openUncovered } from './kernel/open-as-caller.ts';
import { walkTree } from './kernel/tree-walk.ts';

interface Task {
  caller: Caller;
  path: string;
  exclude: string[];
  blank: string[];
  leaveWith: string[];
  live: boolean;
  only?: string[];
  uppers?: boolean;
  grafts?: { path: string; folder: string }[];
}

/** Everything is in memory by now: after this line nothing of root's is read any more. */
function takeTask(): Task {
  const task = JSON.parse(readFileSync(0, 'utf8')) as Task;
  becomeCaller(task.caller);
  return task;
}

function write(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      // A full pipe: the descriptor may be non-blocking when the daemon's end is.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}

async function walk(task: Task): Promise<void> {
  const { path, exclude, blank, leaveWith, live, only, uppers = false, grafts = [] } = task;
  const root = live ? openUncovered(path) : openTree(path);
  try {
    const items = walkTree(root, {
      exclude,
      blank,
      leaveWith,
      live,
      uppers,
      grafts,
      ...(only === undefined ? {} : { only }),
      depthMax: defaultLimits.depth,
      extentsMax: 1024,
    });
    for await (const bytes of encode(items as AsyncIterable<Item>)) write(bytes);
  } finally {
    root.close();
  }
}

/** The error as the contract has it: the child's reader puts it on as it is. */
function told(error: unknown, task: Task | undefined): PersonaError {
  if (error instanceof PersonaError) return error;
  if (!(error instanceof KernelError)) {
    return new PersonaError('internal', String((error as Error)?.message ?? error));
  }
  const place = JSON.stringify(error.detail);
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    const reason = `uid ${task?.caller.uid ?? '?'} may not read ${place}`;
    return new PersonaError('permission-denied', { reason });
  }
  if (error.code === 'ENOENT' && error.detail === task?.path) {
    return new PersonaError('file-not-found', { path: task.path });
  }
  if (error.code === 'ENOTDIR' && error.detail === task?.path) {
    return new PersonaError('bad-value', { name: task.path, reason: 'it is no folder' });
  }
  const why = error.code === 'ESTALE' ? 'it changed while it was read' : error.code;
  return new PersonaError('bad-image', `${place}: ${why}`);
}

let task: Task | undefined;
try {
  task = takeTask();
  await walk(task);
} catch (error) {
  // A reader that went away knows why: its own word counts.
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE')
    writeSync(2, `${JSON.stringify(toWire(told(error, task)))}\n`);
  process.exitCode = 1;
}
