import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { childGroup } from './child-group.ts';
import { CLEAN_ENV } from './exec.ts';

/** A program that reads its input to the end, and then does what there is to do: an absolute path and an argument list. */
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
  /** Writes to its input. Resolves when the kernel has it, also when it has gone meanwhile. */
  tell(text: string): Promise<void>;
  /** Ends it before it has done anything. */
  callOff(): Promise<void>;
}

/** The waiter takes one megabyte; the program that may follow it is node. */
const LIMITS = { memoryBytes: 512 << 20, processes: 64 };

/**
 * Starts a program that learns by the end of its input that this process has ended, however it ended: its input is a pipe whose
 * other end no other process has. It has a session of its own, so that a terminal does not end both, and a group below the root of
 * each hierarchy that lets us make one, so that whoever ends all of a group does not end it, too.
 */
export async function runAfterDeath({ file, args, env }: LastProgram): Promise<AfterDeath> {
  const group = await childGroup('guard', LIMITS);
  try {
    const child = spawn(file, args, {
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
      tell: (text) => new Promise((resolve) => pipe.write(text, () => resolve())),
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
