import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';

/** A launch for the daemon of a private tree. */
export interface Launch {
  launcher: string;
  root: string;
  app: string;
  /** Says a line, and then waits for the end of its input. */
  program: string;
}

/** Starts a program by the launcher until that has its answer in time. What comes back ends it, and waits for the end. */
export async function startAnswered(
  t: ExecutionContext,
  launch: Launch,
): Promise<() => Promise<void>> {
  const { launcher, root, app, program } = launch;
  for (;;) {
    const child = spawn(launcher, [app, '--', program], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', PERSONA_ROOT: root },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const ended = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    let said = '';
    child.stderr.on('data', (piece) => {
      said += String(piece);
    });
    await once(createInterface({ input: child.stdout }), 'line');
    const end = async () => {
      child.stdin.end();
      await ended;
    };
    if (said === '') return end;
    t.regex(said, /no answer in time/);
    await end();
  }
}
