import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { PersonaError } from '../ipc/errors.ts';
import type { Input } from '../ipc/methods/shapes.ts';
import type { Call } from './call.ts';
import { progressLine } from './print/progress.ts';
import { upload } from './transfer.ts';

/** A folder as a pax archive, with everything that belongs to its files. */
function packed(folder: string): ChildProcess {
  const options = ['--format=pax', '--xattrs', '--acls', '--sparse', '--numeric-owner'];
  const args = [...options, '--one-file-system', '-C', folder, '-cf', '-', '.'];
  return spawn('tar', args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function* packedData(folder: string): AsyncGenerator<Uint8Array> {
  const child = packed(folder);
  const ended = once(child, 'close') as Promise<[number | null]>;
  ended.catch(() => {});
  if (child.stdout) yield* child.stdout as AsyncIterable<Uint8Array>;
  const [status] = await ended;
  if (status !== 0) {
    const reason = `tar ended with status ${status}`;
    throw new PersonaError('bad-value', { name: folder, reason });
  }
}

/**
 * Makes a path of the caller readable for the daemon: root's folders by their path, everything else
 * by an upload with the rights of the caller. Throws `file-not-found`, `bad-value`.
 */
export async function inputOf(call: Call, path: string): Promise<Input> {
  const full = resolve(call.io.cwd(), path);
  const found = await stat(full);
  const folder = found.isDirectory();
  if (folder && call.io.uid() === 0) return { kind: 'path', path: full };
  if (!folder && !found.isFile())
    throw new PersonaError('bad-value', { name: path, reason: 'neither a file nor a folder' });
  const client = await call.client();
  // A folder's archive has a length that nobody knows before.
  const bytes = folder ? undefined : found.size;
  const { ticket } = await client.call('bulk.open', {
    direction: 'up',
    ...(bytes !== undefined && { bytes }),
  });
  const progress = progressLine(call.io, call.out);
  const label = `sending ${basename(full)}`;
  try {
    await upload(client.path, ticket, folder ? packedData(full) : createReadStream(full), (done) =>
      progress.show({ label, done, total: bytes, unit: 'bytes' }),
    );
  } finally {
    progress.clear();
  }
  return { kind: 'upload', ticket };
}
