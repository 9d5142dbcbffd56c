/**
 * The program behind `personactl partitions replay`: policies over a simulated pair of sides. It is run by its caller,
 * with the caller's rights, and needs no daemon. Standard input: one JSON object (`ReplayTask`), standard output: one
 * (`ReplayAnswer`); errors are one JSON line (the wire form) on standard error with exit status 1.
 */
import { readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { PersonaError, toWire } from '../ipc/errors.ts';
import { type ReplayAnswer, type ReplayTask, replay } from './partitions/simulator/replay.ts';
import { traceLimits } from './partitions/simulator/trace.ts';

function traceText(path: string): string {
  const { size } = statSync(path);
  if (size > traceLimits.bytes)
    throw new PersonaError('bad-value', {
      name: 'TRACE',
      reason: `more than ${traceLimits.bytes} bytes`,
    });
  return readFileSync(path, 'utf8');
}

try {
  const task = JSON.parse(readFileSync(0, 'utf8')) as ReplayTask;
  const answer: ReplayAnswer = await replay(task, traceText);
  writeFileSync(1, JSON.stringify(answer));
} catch (error) {
  const { code, path, message } = error as NodeJS.ErrnoException;
  const known =
    error instanceof PersonaError || path === undefined
      ? error
      : code === 'ENOENT'
        ? new PersonaError('file-not-found', { path })
        : new PersonaError('bad-value', { name: path, reason: message });
  writeSync(2, `${JSON.stringify(toWire(known))}\n`);
  process.exitCode = 1;
}
