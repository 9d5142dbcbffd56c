import { exitStatus, PersonaError, toWire } from '../ipc/errors.ts';
import { type Call, createCall } from './call.ts';
import type { Io } from './io.ts';
import type { Parsed } from './parse.ts';
import type { Output } from './print/output.ts';

/** Does the work of a line that was understood, and answers its exit status. Never rejects. */
export async function perform(
  parsed: Parsed,
  io: Io,
  out: Output,
  work: (call: Call) => Promise<number | undefined>,
): Promise<number> {
  const call = createCall(parsed, io, out);
  try {
    return (await work(call)) ?? exitStatus.ok;
  } catch (error) {
    return failed(error, out);
  } finally {
    call.close();
  }
}

/** Says what went wrong, and answers the exit status for it. */
export function failed(error: unknown, out: Output): number {
  out.error(known(error));
  return toWire(known(error)).exit;
}

/** What the system said about a file or stream, in the words of the error table. */
export function known(error: unknown): unknown {
  if (error instanceof PersonaError) return error;
  const { code, path, message, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === 'ENOENT' && path !== undefined) return new PersonaError('file-not-found', { path });
  if ((code === 'EACCES' || code === 'EPERM' || code === 'EROFS') && path !== undefined)
    return new PersonaError('permission-denied', { reason: `no access to ${path}` });
  if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) && path !== undefined)
    return new PersonaError('bad-value', { name: path, reason: message });
  if (code === 'EISDIR')
    return new PersonaError('bad-value', { name: 'the file', reason: 'it is a folder' });
  if (syscall === 'uv_cwd')
    return new PersonaError('file-not-found', { path: 'the current folder' });
  return error;
}

/** Ends the process with the status that `running` answers. */
export async function endWith(running: Promise<number>, io: Io): Promise<void> {
  process.exitCode = await running;
  // Nothing is left to do: taking everything apart in order would only cost time.
  if (io.out.flushed() && io.err.flushed()) process.exit();
}
