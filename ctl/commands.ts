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

/**
 * The commands in the order of the overview, by noun. Functions: a line is answered without making the tables behind the one
 * that has its command, which would be a part of every start.
 */
const tables: readonly (() => readonly Command[])[] = [
  machineCommands,
  slotCommands,
  runCommands,
  personaCommands,
  baseCommands,
  changeCommands,
  partitionCommands,
  fastCommands,
  replayCommands,
  volumeCommands,
  enclaveCommands,
  applicationCommands,
  toolCommands,
];

/** Every command of the tool. */
export const commands = (): Command[] => tables.flatMap((table) => table());

/** The command that is called so, or by this other name. */
function commandNamed(name: string): Command | undefined {
  for (const table of tables) {
    const found = table().find((one) => one.name === name || one.aliases?.includes(name));
    if (found) return found;
  }
  return undefined;
}

/** The command of these words, and how many of them name it. */
export function findCommand(
  words: readonly string[],
): { command: Command; used: number } | undefined {
  for (const used of [2, 1]) {
    if (words.length < used) continue;
    const command = commandNamed(words.slice(0, used).join(' '));
    if (command) return { command, used };
  }
  return undefined;
}

/** The commands that begin with this word: "base" -> base import, base list, ... */
export function commandsUnder(word: string): Command[] {
  return commands().filter(({ name }) => name.startsWith(`${word} `));
}
