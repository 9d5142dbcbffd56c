import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { nativeProgram } from '../../daemon/kernel/program-files.ts';
import { compileNative } from '../../scripts/launcher.ts';
import { hasTool } from './needs.ts';

/** CAP_IPC_LOCK, as a bit. */
const IPC_LOCK = 1n << 14n;

function mayLock(): boolean {
  const [, mask = '0'] =
    /\nCapEff:\t([0-9a-f]+)\n/.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  return (BigInt(`0x${mask}`) & IPC_LOCK) !== 0n;
}

/** What tests need that keep files in memory. */
export const pinsNeeds = {
  root: true,
  other: () =>
    !hasTool('cc') ? 'needs a C compiler' : mayLock() ? undefined : 'may not lock memory',
};

/** The daemon of a checkout finds it where `npm run build` puts it. */
export function builtPins(): void {
  const into = nativeProgram('file-pins');
  const source = join(import.meta.dirname, '../../daemon/native/file-pins.c');
  const built = statSync(into, { throwIfNoEntry: false });
  if (built === undefined || built.mtimeMs < statSync(source).mtimeMs)
    compileNative('file-pins', into);
}

/** What a process has locked; undefined when it has ended. */
export function lockedBytes(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    const locked = /\nVmLck:\t *(\d+) kB\n/.exec(text)?.[1];
    return locked === undefined ? undefined : Number(locked) * 1024;
  } catch {
    return undefined;
  }
}
