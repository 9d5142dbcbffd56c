import { exitStatus, PersonaError, toWire } from '../ipc/errors.ts';
import { createCall } from './call.ts';
import type { Io } from './io.ts';
import { hasGlobal, parseCommand, splitCommand } from './parse.ts';
import { createOutput } from './print/output.ts';
import { usageError } from './usage-error.ts';

/** Runs one command line and answers its exit status. Never rejects. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  // Known before the line is: a wrong line is answered in the form that was asked for.
  const json = hasGlobal(argv, 'json');
  let out = createOutput(io, { json, quiet: false, color: undefined });
  try {
    const found = splitCommand(argv);
    if (found === undefined) {
      if (hasGlobal(argv, 'version')) return await run(['version'], io);
      if (!hasGlobal(argv, 'help', 'h')) throw missingCommand(json);
      return await run(['help'], io);
    }
    const parsed = parseCommand(found.command, found.rest);
    const { color, quiet, help } = parsed.flags;
    out = createOutput(io, { json, quiet: quiet === true, color: color as string | undefined });
    const call = createCall(parsed, io, out);
    try {
      if (help === true) {
        const { printHelp } = await import('./run/help.ts');
        printHelp(call, found.command);
        return exitStatus.ok;
      }
      const work = await found.command.load();
      return (await work(call)) ?? exitStatus.ok;
    } finally {
      call.close();
    }
  } catch (error) {
    out.error(known(error));
    return toWire(known(error)).exit;
  }
}

function missingCommand(json: boolean): PersonaError {
  const hint = json ? '' : '`personactl help` lists the commands; `personactl status` is a start.';
  return usageError('a command is missing', '', hint);
}

/** What the system said about a file or stream, in the words of the error table. */
function known(error: unknown): unknown {
  if (error instanceof PersonaError) return error;
  const { code, path, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === 'ENOENT' && path !== undefined) return new PersonaError('file-not-found', { path });
  if ((code === 'EACCES' || code === 'EPERM' || code === 'EROFS') && path !== undefined)
    return new PersonaError('permission-denied', { reason: `no access to ${path}` });
  if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) && path !== undefined)
    return new PersonaError('bad-value', { name: path, reason: message });
  return error;
}
