import { fromWire, PersonaError, type WireError } from '../../ipc/errors.ts';
import { ProgramFailed } from '../kernel/exec.ts';

/** What is written would take what is kept free. */
export const noSpace = (): PersonaError =>
  new PersonaError('no-space', { needed: 'more', free: 'nothing', path: 'the state tree' });

/** The error that a child's end means: the one it reported, or that it could not even do that. */
export function childFailure(error: unknown): unknown {
  if (!(error instanceof ProgramFailed)) return error;
  const { timedOut, signal } = error.ended;
  if (timedOut) return killedFailure(error);
  const wire = reported(error.stderr);
  if (wire === undefined) {
    // The kernel ends a child that grows over its memory; the input made it do so.
    return signal === undefined ? workerFailed(lastLine(error.stderr)) : killedFailure(error);
  }
  // EFBIG: its files may not become longer than what is free beside what is kept free.
  if (wire.code === 'internal' && /ENOSPC|EFBIG/.test(wire.message)) return noSpace();
  return fromWire(wire);
}

/**
 * The error of a child that was killed, at its deadline or by others than us. What it reported then is only what that did to it: its input is
 * closed when the first of its processes has gone, and the last one may still say that it ended too early.
 */
export function killedFailure({ ended }: ProgramFailed): PersonaError {
  const { timedOut, signal, status = 0 } = ended;
  if (timedOut) return new PersonaError('timed-out', { what: 'reading the image' });
  return workerFailed(`it was ended by ${signal ?? `signal ${status - 128}`}`);
}

const workerFailed = (reason: string): PersonaError =>
  new PersonaError('tool-failed', { tool: 'the image worker', reason });

function reported(stderr: string): WireError | undefined {
  for (const line of stderr.trim().split('\n').reverse()) {
    try {
      const wire = JSON.parse(line) as Partial<WireError>;
      if (typeof wire.code === 'string' && typeof wire.message === 'string') {
        return { hint: '', exit: 1, ...wire, code: wire.code, message: wire.message };
      }
    } catch {
      // a warning of the runtime beside our one line
    }
  }
  return undefined;
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}
