import { existsSync, readFileSync, rmdirSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { failedWith } from './errno.ts';
import { runProgram } from './exec.ts';

/** Properties of systemd that stand for knobs of a group (systemd.resource-control(5)). */
const PROPERTIES = {
  'memory.low': 'MemoryLow',
  'memory.high': 'MemoryHigh',
  'io.weight': 'IOWeight',
} as const;

/** A manager that answers does so in some 10 ms; a busy one gets this long. */
const DEADLINE_MS = 4_000;
const SYSTEMCTL = '/usr/bin/systemctl';
/** Where the manager keeps properties that were set at run time (`--runtime`). */
const CONTROL = '/run/systemd/system.control';

/** systemd is PID 1 of this machine: sd_booted(3). It is then the one writer of its groups' knobs. */
export function managerRuns(): boolean {
  return existsSync('/run/systemd/system') && existsSync(SYSTEMCTL);
}

/** The unit whose group this is, or undefined for a group that no unit has. Pure. */
export function unitOf(relative: string): string | undefined {
  const name = relative.split('/').at(-1) ?? '';
  return /^[A-Za-z0-9:_.@-]+\.(slice|scope|service)$/.test(name) ? name : undefined;
}

/** The property that stands for a knob. */
export function propertyOf(knob: string): string | undefined {
  return Object.hasOwn(PROPERTIES, knob) ? PROPERTIES[knob as keyof typeof PROPERTIES] : undefined;
}

/** The file in which the manager keeps a property that was set at run time. */
export function dropInOf(unit: string, property: string): string {
  return `${CONTROL}/${unit}.d/50-${property}.conf`;
}

/** Sets a property until the next boot. `max` is written as systemd has it. Throws ProgramFailed. */
export async function setUnitProperty(
  unit: string,
  property: string,
  value: string,
): Promise<void> {
  await runProgram({
    file: SYSTEMCTL,
    args: [
      'set-property',
      '--runtime',
      unit,
      `${property}=${value === 'max' ? 'infinity' : value}`,
    ],
    deadlineMs: DEADLINE_MS,
  });
}

/**
 * The value in the file in which the manager keeps a property that was set at run time, as a knob says it. Undefined without such a
 * file; empty when it does not say.
 */
export function keptProperty(unit: string, property: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(dropInOf(unit, property), 'utf8');
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
  const value = text.split('\n').findLast((line) => line.startsWith(`${property}=`));
  return value?.slice(property.length + 1).replace('infinity', 'max') ?? '';
}

/** Removes the file of a property, and its folder when nothing else is in it: the value in force stays as it is. */
export function removeDropIn(unit: string, property: string): void {
  const file = dropInOf(unit, property);
  try {
    unlinkSync(file);
    rmdirSync(dirname(file));
  } catch (error) {
    if (!failedWith(error, 'ENOENT', 'ENOTEMPTY')) throw error;
  }
}
