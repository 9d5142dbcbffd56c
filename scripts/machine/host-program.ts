import { execFile } from 'node:child_process';

const outputBytesMax = 16 << 20;

export interface Program {
  deadlineMs: number;
  /** In namespaces of its own for mounts and processes: all that it starts and mounts ends with it. */
  contained?: boolean;
  cwd?: string;
  /** Written to its standard input. */
  input?: Buffer;
}

const containment = [
  'unshare',
  ...['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child=KILL'],
  '--mount-proc',
  '--',
];

/**
 * Runs a program of the host, which does not outlive this process. Returns its standard output; throws with
 * the end of what it wrote when it fails or its deadline passes.
 */
export function runProgram(argv: readonly string[], how: Program): Promise<string> {
  const whole = ['setpriv', '--pdeathsig', 'KILL', ...(how.contained ? containment : []), ...argv];
  const [file = '', ...rest] = whole;
  return new Promise((resolve, reject) => {
    const options = {
      timeout: how.deadlineMs,
      killSignal: 'SIGKILL' as const,
      maxBuffer: outputBytesMax,
      ...(how.cwd === undefined ? {} : { cwd: how.cwd }),
    };
    const child = execFile(file, rest, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const late = error.killed ? `not done after ${how.deadlineMs / 1000} s` : `${error.code}`;
      const said = `${stdout}${stderr}`.trim().split('\n').slice(-20).join('\n');
      reject(new Error(`${argv.join(' ')}: ${late}\n${said}`));
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(how.input);
  });
}
