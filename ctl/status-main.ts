import { statusCommand } from './commands/status.ts';
import { processIo } from './io.ts';
import { endWith, perform } from './perform.ts';
import { createOutput } from './print/output.ts';

// `personactl status`, with or without --json, and nothing else: what panels and prompts ask all the time starts without the
// rest of the tool, which would be a twentieth of the start. `loader.ts` chooses.
const json = process.argv[3] === '--json';
const io = processIo();
const out = createOutput(io, { json, quiet: false, color: undefined });
const parsed = { command: statusCommand, operands: {}, flags: {}, rest: [] };

void endWith(
  perform(parsed, io, out, async (call) => (await statusCommand.load())(call)),
  io,
);
