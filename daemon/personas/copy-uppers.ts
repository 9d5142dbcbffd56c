import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { slotsLimits } from '../images/limits.ts';
import { decode } from '../images/stream.ts';
import { startWalker } from '../kernel/as-caller.ts';
import { failedWith } from '../kernel/errno.ts';
import { ProgramFailed } from '../kernel/exec.ts';
import { syncFileSystem } from '../kernel/files.ts';
import { openFolder } from '../kernel/openat.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { writeTree } from '../kernel/tree-write.ts';
import { childFailure } from './child-failure.ts';

const root = { uid: 0, gid: 0, groups: [] };

/** A disk of some terabytes. */
export const copyTimeoutMs = 24 * 3_600_000;

/** Removes all that is in the folder; the folder stays. */
export async function emptyFolder(folder: string): Promise<void> {
  for (const name of readdirSync(folder)) await removeTree(join(folder, name));
}

/**
 * Copies uppers that nobody writes to from one folder of a slot into another, which is emptied first: names, contents with their holes,
 * hard links among them, owners, attributes, deletion marks. Durable when this returns.
 */
export async function copyUppers(
  from: string,
  to: string,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await emptyFolder(to);
  const walker = await startWalker({
    caller: root,
    path: from,
    only: ids.flatMap((id) => [id, `${id}.json`]),
    exclude: ids.map((id) => `${id}/work`),
    uppers: true,
    deadlineMs: copyTimeoutMs,
    limits: { cpuSeconds: copyTimeoutMs / 1000 },
  });
  const stop = () => walker.kill();
  signal.addEventListener('abort', stop, { once: true });
  walker.done.catch(() => undefined);
  try {
    using target = openFolder(to);
    const stream = walker.stdout as AsyncIterable<Buffer>;
    await writeTree(target, decode(stream, { kind: 'uppers', limits: slotsLimits }));
    await walker.done;
    await syncFileSystem(to);
  } catch (error) {
    throw signal.aborted ? new PersonaError('cancelled') : sayable(error, to);
  } finally {
    signal.removeEventListener('abort', stop);
    walker.kill();
    walker.stdout.destroy();
    await walker.done.catch(() => undefined);
  }
}

function sayable(error: unknown, to: string): unknown {
  if (failedWith(error, 'ENOSPC', 'EDQUOT'))
    return new PersonaError('no-space', { needed: 'more', free: 'too little', path: to });
  return error instanceof ProgramFailed ? childFailure(error) : error;
}
