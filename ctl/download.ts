import { createHash, randomBytes } from 'node:crypto';
import { constants, rmSync } from 'node:fs';
import { access, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PersonaError } from '../ipc/errors.ts';
import type { Call } from './call.ts';
import { unlessInterrupted } from './change.ts';
import { progressLine } from './print/progress.ts';
import { download } from './transfer.ts';

/** A file that was written. */
export interface Written {
  path: string;
  bytes: number;
  /** SHA-256 of its bytes. */
  digest: string;
}

/**
 * Checks that a file can be written at `path`, before long work is begun for it. Throws
 * `already-exists` (unless it may be replaced), `file-not-found`, `permission-denied`.
 */
export async function checkTarget(call: Call, path: string, replace: boolean): Promise<void> {
  const full = resolve(call.io.cwd(), path);
  const found = await stat(full).catch(() => undefined);
  if (found && !replace) throw new PersonaError('already-exists', { what: path });
  if (found && !found.isFile())
    throw new PersonaError('bad-value', { name: path, reason: 'not a file' });
  await access(dirname(full), constants.W_OK | constants.X_OK);
}

/** What comes, and when it is whole. */
export interface Coming {
  path: string;
  /** Permission bits of the file, less those of the umask. */
  mode: number;
  data: AsyncIterable<Uint8Array>;
  /** Called when no more comes: throws unless that was all of it. */
  check(written: Written): Promise<void> | void;
}

/** Writes what comes to a file, which appears under its name only when it is complete, correct and on disk. */
export async function receive(call: Call, { path, mode, data, check }: Coming): Promise<Written> {
  const full = resolve(call.io.cwd(), path);
  const partial = `${full}.${randomBytes(4).toString('hex')}.part`;
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(partial, 'wx', mode);
  // At once: whoever hears of it, too, may end the process.
  const forget = call.io.onInterrupt(() => rmSync(partial, { force: true }));
  try {
    for await (const chunk of data) {
      hash.update(chunk);
      bytes += chunk.length;
      await file.appendFile(chunk);
    }
    const written = { path: full, bytes, digest: `sha256:${hash.digest('hex')}` };
    await check(written);
    await file.sync();
    await file.close();
    await rename(partial, full);
    await syncFolder(dirname(full));
    return written;
  } catch (error) {
    await file.close().catch(() => {});
    await rm(partial, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw new PersonaError('no-space', { needed: 'more', free: 'too little', path: dirname(full) });
  } finally {
    forget();
  }
}

/** Exports a persona to a file. Throws `digest-mismatch`, `connection-lost`. */
export async function exportTo(
  call: Call,
  persona: string,
  path: string,
  original: boolean,
): Promise<Written> {
  const client = await call.client();
  const answer = await client.call('persona.export', { persona, ...(original && { original }) });
  const progress = progressLine(call.io, call.out);
  const label = `writing ${path}`;
  const total = answer.bytes;
  const data = download(client.path, answer.ticket, (done) =>
    progress.show({ label, done, total, unit: 'bytes' }),
  );
  try {
    const coming: Coming = {
      path,
      mode: 0o666,
      data,
      check({ digest }) {
        if (digest === answer.digest) return;
        const { digest: expected } = answer;
        throw new PersonaError('digest-mismatch', { what: path, expected, found: digest });
      },
    };
    return await unlessInterrupted(call, receive(call, coming));
  } finally {
    progress.clear();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
