import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

const source = join(dirname(import.meta.dirname), 'ctl/native/persona-run.c');

/** One file without libraries: the same source and compiler give the same bytes, wherever they lie. */
const released = ['-static', '-s', '-Wl,--build-id=none'];

/**
 * Compiles the native launcher. False where there is no C compiler: `personactl run` does the same then, only later.
 * `flags` in place of the released ones are for its tests.
 */
export function compileLauncher(into: string, flags: readonly string[] = released): boolean {
  const words = ['-std=c11', '-O2', '-Wall', '-Wextra', '-Wconversion', ...flags];
  mkdirSync(dirname(into), { recursive: true });
  try {
    execFileSync('cc', [...words, '-o', into, source], { stdio: ['ignore', 'ignore', 'inherit'] });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
