import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The longest making: a Debian root from a slow mirror on a busy machine. */
const makeSeconds = 900;

/** What tests keep from run to run. It may be removed at any time. */
export function testCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'personad-test');
}

/** Runs a program to its end. Rejects with the last of what it said. */
export async function finish(file: string, args: readonly string[], lock?: number): Promise<void> {
  const signal = AbortSignal.timeout(makeSeconds * 1_000);
  const stdio = ['ignore', 'ignore', 'pipe', lock ?? 'ignore'] as const;
  const child = spawn(file, args, { stdio: [...stdio], cwd: '/', signal });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-4_000);
  });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}:\n${said}`);
}

/** Does `work` while no other process holds this lock. It belongs to our open file and ends with us. */
async function alone(file: string, work: () => Promise<void>): Promise<void> {
  const lock = openSync(file, 'a', 0o600);
  try {
    await finish('flock', ['--timeout', String(makeSeconds), '3'], lock);
    await work();
  } finally {
    closeSync(lock);
  }
}

/**
 * The path of a thing in the cache, made by `make` (which is given the path to make it at) when it is not there, by one process
 * only. The name holds a digest of what the thing is made from.
 */
export async function cached(
  name: string,
  make: (fresh: string) => Promise<void>,
): Promise<string> {
  const path = join(testCache(), name);
  if (existsSync(path)) return path;
  mkdirSync(testCache(), { recursive: true, mode: 0o755 });
  await alone(`${path}.lock`, async () => {
    if (existsSync(path)) return;
    const fresh = `${path}.new`;
    rmSync(fresh, { recursive: true, force: true });
    await make(fresh);
    renameSync(fresh, path);
  });
  return path;
}
