import type { Command } from './command.ts';
import { applicationCommands } from './commands/applications.ts';
import { baseCommands } from './commands/bases.ts';
import { changeCommands } from './commands/changes.ts';
import { enclaveCommands } from './commands/enclaves.ts';
import { fastCommands } from './commands/fast.ts';
import { machineCommands } from './commands/machine.ts';
import { partitionCommands } from './commands/partitions.ts';
import { personaCommands } from './commands/personas.ts';
import { replayCommands } from './commands/replay.ts';
import { runCommands } from './commands/run.ts';
import { slotCommands } from './commands/slots.ts';
import { toolCommands } from './commands/tool.ts';
import { volumeCommands } from './commands/volumes.ts';

/** Every command of the tool, in the order of the overview. */
export const commands: readonly Command[] = [
  ...machineCommands,
  ...slotCommands,
  ...runCommands,
  ...personaCommands,
  ...baseCommands,
  ...changeCommands,
  ...partitionCommands,
  ...fastCommands,
  ...replayCommands,
  ...volumeCommands,
  ...enclaveCommands,
  ...applicationCommands,
  ...toolCommands,
];

/** The command of these words, and how many of them name it. */
export function findCommand(
  words: readonly string[],
): { command: Command; used: number } | undefined {
  for (const used of [2, 1]) {
    if (words.length < used) continue;
    const name = words.slice(0, used).join(' ');
    const command = commands.find((one) => one.name === name || one.aliases?.includes(name));
    if (command) return { command, used };
  }
  return undefined;
}

/** The commands that begin with this word: "base" -> base import, base list, ... */
export function commandsUnder(word: string): Command[] {
  return commands.filter(({ name }) => name.startsWith(`${word} `));
}
