import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** A larger file is not the small program we look for. */
const programBytesMax = 32 * 1024 * 1024;
const place = '/usr/bin/env';
const signals = 'INT,QUIT,TERM,HUP';

/** What the program `env` of one tree can do for us. */
type Ability = 'signals' | 'runs' | 'absent';

/** Reads, does not run: the tree may be foreign. */
function abilityIn(root: string): Ability {
  let fd: number;
  try {
    fd = openSync(
      `${root}${place}`,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ELOOP' ? 'runs' : 'absent';
  }
  try {
    const found = fstatSync(fd);
    if (!found.isFile() || found.size > programBytesMax) return 'absent';
    const both = ['ignore-signal', 'default-signal'];
    const bytes = readFileSync(fd);
    return both.every((option) => bytes.includes(option)) ? 'signals' : 'runs';
  } finally {
    closeSync(fd);
  }
}

/** Words to put before the sandbox and before the command in it. */
export interface Wrapping {
  outside: readonly string[];
  inside: readonly string[];
}

/** What the machine's own `env` can do. */
export const envAbility = (): Ability => abilityIn('');

/**
 * How to make signals reach the program only. Ctrl-C goes to the sandbox's own process, too, whose
 * death would end a program that handles it by itself (a debugger, an interpreter). So the sandbox
 * ignores such signals, and the program gets the defaults back, where `env` can do both. Inside, `env`
 * also tells a missing program (127) from one that cannot be executed (126).
 */
export function wrapping(root: string, command: string): Wrapping {
  // A first word with "=" would be a variable to it.
  const inside = command.includes('=') ? 'absent' : abilityIn(root);
  if (inside === 'absent') return { outside: [], inside: [] };
  if (inside === 'runs' || envAbility() !== 'signals') return { outside: [], inside: [place] };
  return {
    outside: [place, `--ignore-signal=${signals}`],
    inside: [place, `--default-signal=${signals}`],
  };
}
