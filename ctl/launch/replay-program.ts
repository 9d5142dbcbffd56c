import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';

/** A thousand scenarios end well before this. */
const DEADLINE_MS = 15 * 60_000;
const ANSWER_BYTES = 64 * 2 ** 20;

/** The simulator's program: beside the installed tool, or in the daemon's sources for the tool in its own. */
function programFile(): string {
  const tool = realpathSync(process.argv[1] ?? '');
  const folder = dirname(tool);
  return tool.endsWith('.ts')
    ? join(folder, '..', 'daemon', 'replay.ts')
    : join(folder, 'replay.mjs');
}

/** Lines of the program's own errors, in the wire form. */
function errorOf(text: string): Error {
  try {
    const { code, message, hint } = JSON.parse(text) as {
      code: 'bad-value';
      message: string;
      hint: string;
    };
    const error = new PersonaError(code, {});
    error.message = message;
    error.hint = hint;
    return error;
  } catch {
    return new PersonaError('internal', text.slice(0, 400));
  }
}

/** Runs the simulator in a process of its own, with the caller's rights. Answers its one JSON object. */
export function runReplay<Answer>(task: object): Answer {
  const ended = spawnSync(process.execPath, ['--no-warnings', programFile()], {
    input: JSON.stringify(task),
    timeout: DEADLINE_MS,
    maxBuffer: ANSWER_BYTES,
    encoding: 'utf8',
  });
  if (ended.error)
    throw new PersonaError('tool-failed', { tool: 'replay', reason: ended.error.message });
  if (ended.status !== 0) throw errorOf(ended.stderr);
  return JSON.parse(ended.stdout) as Answer;
}
