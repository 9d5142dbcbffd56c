import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { childGroup } from './child-group.ts';
import { CLEAN_ENV } from './exec.ts';
import { findProgram } from './probe-host.ts';

/** What is to run: an absolute path and an argument list. */
export interface LastProgram {
  file: string;
  args: readonly string[];
  env?: Record<string, string>;
}

/** A child that waits for this process to end. */
export interface AfterDeath {
  pid: number;
  /** Settles when it waits no more, for whatever reason. */
  gone: Promise<void>;
  /** Ends it without the program being run. */
  callOff(): Promise<void>;
}

/** The waiter takes one megabyte; the program that follows it is node. */
const LIMITS = { memoryBytes: 512 << 20, processes: 64 };

/**
 * Runs a program when this process has ended, however it ended. `xargs` waits: it reads its input to the end, and then
 * starts what it was told to, once. The input is a pipe whose other end no other process has. It has a session of its own,
 * so that a terminal does not end both, and a group below the root of each hierarchy that lets us make one, so that whoever
 * ends all of a group does not end it, too.
 */
export async function runAfterDeath({ file, args, env }: LastProgram): Promise<AfterDeath> {
  const xargs = findProgram('xargs');
  if (xargs === undefined) throw new Error('xargs is not installed (package findutils)');
  const group = await childGroup('guard', LIMITS);
  try {
    const child = spawn(xargs, [file, ...args], {
      cwd: '/',
      env: { ...CLEAN_ENV, ...env },
      detached: true,
      // What it says goes where ours goes.
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    await once(child, 'spawn');
    const pid = child.pid as number;
    const pipe = child.stdin as Socket;
    pipe.on('error', () => undefined);
    // Nobody waits for it: this process ends when it has nothing else to do.
    pipe.unref();
    child.unref();
    const gone = ended.then(() => group.end());
    gone.catch(() => undefined);
    try {
      await group.add([pid]);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    return {
      pid,
      gone,
      async callOff() {
        child.kill('SIGKILL');
        await gone;
      },
    };
  } catch (error) {
    await group.end();
    throw error;
  }
}
