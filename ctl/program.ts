import { exitStatus, type PersonaError } from '../ipc/errors.ts';
import { globalFlags } from './command.ts';
import type { Io } from './io.ts';
import { groupOf, hasGlobal, parseCommand, splitCommand } from './parse.ts';
import { failed, perform } from './perform.ts';
import { createOutput } from './print/output.ts';
import { usageError } from './usage-error.ts';

/** Runs one command line and answers its exit status. Never rejects. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  // Known before the line is: a wrong line is answered in the form that was asked for.
  const json = hasGlobal(argv, 'json');
  let out = createOutput(io, { json, quiet: false, color: undefined });
  try {
    const group = hasGlobal(argv, 'help', 'h') ? groupOf(argv) : undefined;
    if (group !== undefined) return await run(['help', group, ...(json ? ['--json'] : [])], io);
    const found = splitCommand(argv);
    if (found === undefined) {
      if (hasGlobal(argv, 'version')) return await run(['version'], io);
      if (!hasGlobal(argv, 'help', 'h')) throw missingCommand(argv, json);
      return await run(['help'], io);
    }
    const parsed = parseCommand(found.command, found.rest);
    const { color, quiet, help } = parsed.flags;
    out = createOutput(io, { json, quiet: quiet === true, color: color as string | undefined });
    return await perform(parsed, io, out, async (call) => {
      if (help !== true) return (await found.command.load())(call);
      const { printHelp } = await import('./run/help.ts');
      printHelp(call, found.command);
      return exitStatus.ok;
    });
  } catch (error) {
    return failed(error, out);
  }
}

function missingCommand(argv: readonly string[], json: boolean): PersonaError {
  const names = globalFlags.flatMap(({ name, short }) => [
    `--${name}`,
    ...(short ? [`-${short}`] : []),
  ]);
  const unknown = argv.find(
    (word) => word.startsWith('-') && word !== '--' && !names.includes(word),
  );
  if (unknown !== undefined) return usageError(`there is no option ${unknown}`, '');
  const hint = json ? '' : '`personactl help` lists the commands; `personactl status` is a start.';
  return usageError('a command is missing', '', hint);
}
