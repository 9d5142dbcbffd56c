/**
 * The program behind `personactl partitions replay`: policies over a simulated pair of sides. It is run by its caller,
 * with the caller's rights, and needs no daemon. Standard input: one JSON object (`ReplayTask`), standard output: one
 * (`ReplayAnswer`); errors are one JSON line (the wire form) on standard error with exit status 1.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { PersonaError, toWire } from '../ipc/errors.ts';
import { type ReplayAnswer, type ReplayTask, replay } from './partitions/simulator/replay.ts';
import { traceLimits } from './partitions/simulator/trace.ts';

/** Only a plain file has an end: a pipe would be waited for, and a device read, without one. Nor is a size believed. */
function traceText(path: string): string {
  const refuse = (reason: string): never => {
    throw new PersonaError('bad-value', { name: 'TRACE', reason });
  };
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    if (!fstatSync(file).isFile()) refuse(`${path} is not a plain file`);
    const bytes = Buffer.allocUnsafe(traceLimits.bytes + 1);
    let length = 0;
    let read: number;
    do {
      read = readSync(file, bytes, length, bytes.length - length, null);
      length += read;
    } while (read > 0 && length < bytes.length);
    if (length > traceLimits.bytes) refuse(`more than ${traceLimits.bytes} bytes`);
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}

try {
  const task = JSON.parse(readFileSync(0, 'utf8')) as ReplayTask;
  const answer: ReplayAnswer = await replay(task, traceText);
  writeFileSync(1, JSON.stringify(answer));
} catch (error) {
  const { code, path, syscall, message } = error as NodeJS.ErrnoException;
  // A read that fails does not say of what: it is of the trace.
  const name = path ?? (syscall === 'read' ? 'TRACE' : undefined);
  const known =
    error instanceof PersonaError || name === undefined
      ? error
      : code === 'ENOENT'
        ? new PersonaError('file-not-found', { path: name })
        : new PersonaError('bad-value', { name, reason: message });
  writeSync(2, `${JSON.stringify(toWire(known))}\n`);
  process.exitCode = 1;
}
