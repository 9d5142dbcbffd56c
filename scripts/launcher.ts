import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Programs in C, each of one source, and the folders where these lie. */
const folders = {
  'persona-run': 'ctl/native',
  'persona-confine': 'ctl/native',
  'lease-guard': 'daemon/native',
  'file-pins': 'daemon/native',
} as const;
export type NativeProgram = keyof typeof folders;
export const nativePrograms = Object.keys(folders) as NativeProgram[];

const root = dirname(import.meta.dirname);

/** One file without libraries: the same source and compiler give the same bytes, wherever they lie. */
const released = ['-static', '-s', '-Wl,--build-id=none'];

/**
 * Compiles a native program. False where there is no C compiler: others do the same, only later, or not at all.
 * `flags` in place of the released ones are for its tests.
 */
export function compileNative(
  program: NativeProgram,
  into: string,
  flags: readonly string[] = released,
): boolean {
  const words = ['-std=c11', '-O2', '-Wall', '-Wextra', '-Wconversion', ...flags];
  mkdirSync(dirname(into), { recursive: true });
  // Whoever runs the one that lies there goes on with it.
  const fresh = `${into}.${process.pid}`;
  const source = join(root, folders[program], `${program}.c`);
  try {
    execFileSync('cc', [...words, '-o', fresh, source], { stdio: ['ignore', 'ignore', 'inherit'] });
    renameSync(fresh, into);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Compiles the native launcher. */
export const compileLauncher = (into: string, flags?: readonly string[]): boolean =>
  compileNative('persona-run', into, flags);
