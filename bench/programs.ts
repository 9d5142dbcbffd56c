import { execFile, execFileSync, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const FOLDERS = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':');

/** True when `name` is installed. */
export function installed(name: string): boolean {
  return FOLDERS.some((folder) => {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs a program to its end and returns the milliseconds it took; throws with its errors when it fails. */
export async function timed(file: string, args: string[]): Promise<number> {
  const start = performance.now();
  await execute(file, args, { timeout: 120_000, maxBuffer: 1 << 26 });
  return performance.now() - start;
}

/** Compiles one of the C floors; undefined where there is no compiler. */
export function compileFloor(source: string, into: string): string | undefined {
  if (!installed('gcc')) return undefined;
  execFileSync('gcc', ['-O2', '-o', into, `${import.meta.dirname}/floor/${source}.c`]);
  return into;
}

/** Runs a floor program and returns the numbers it printed. */
export async function floorFigures(file: string, args: string[]): Promise<number[]> {
  const { stdout } = await execute(file, args, { timeout: 300_000, maxBuffer: 1 << 26 });
  return stdout.trim().split('\n').map(Number);
}

/** A floor program that makes one round for each line it is given; `next` gives the number it answers with. */
export function startFloor(
  file: string,
  args: string[],
): { next(): Promise<number>; stop(): void } {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    async next() {
      child.stdin.write('\n');
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`${args.join(' ')} has ended`);
      return Number(value);
    },
    stop: () => child.stdin.end(),
  };
}

/** Runs a program with its standard output going to the file `into`; returns that path. */
export function output(file: string, args: string[], into: string): string {
  const fd = openSync(into, 'w');
  try {
    execFileSync(file, args, { stdio: ['ignore', fd, 'inherit'] });
  } finally {
    closeSync(fd);
  }
  return into;
}
