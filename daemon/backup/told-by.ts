import { fromWire, PersonaError, type WireError } from '../../ipc/errors.ts';
import { ProgramFailed } from '../kernel/exec.ts';

/** The error that a child's end means: its own report, the last line it wrote, where it gave one. */
export function toldBy(error: unknown, tool: string): unknown {
  if (!(error instanceof ProgramFailed)) return error;
  try {
    return fromWire(JSON.parse(error.stderr.trim().split('\n').at(-1) ?? '') as WireError);
  } catch {
    return new PersonaError('tool-failed', { tool, reason: error.message });
  }
}
