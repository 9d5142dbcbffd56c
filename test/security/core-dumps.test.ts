import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { when } from '../support/needs.ts';
import { daemonProgram, privateTree } from './live-daemon.ts';

/** Runs its arguments with no limit on core files, and has the shell say how they ended. */
const shell = ['-c', 'ulimit -c unlimited && "$@"; exit 0', 'bash'];

/** Why this machine would not show a core dump, or undefined when it does. */
function noDumps(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'personad-core-'));
  try {
    const suicide = "process.kill(process.pid, 'SIGABRT'); setInterval(() => {}, 1000)";
    const { stderr } = spawnSync('/bin/bash', [...shell, process.execPath, '-e', suicide], {
      cwd: folder,
      encoding: 'utf8',
      env: { LC_ALL: 'C' },
    });
    return stderr.includes('(core dumped)') ? undefined : 'needs a kernel that dumps core here';
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function exited(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.on('close', () => resolve()));
}

when(test, { root: true, other: noDumps })(
  'a daemon that crashes leaves no core, whatever the limit it was started with (SECURITY 22)',
  async (t) => {
    const root = privateTree(t);
    const child = spawn('/bin/bash', [...shell, process.execPath, '--no-warnings', daemonProgram], {
      cwd: root,
      env: { LC_ALL: 'C', PATH: process.env.PATH, PERSONA_ROOT: root },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: the shell and the daemon end together.
      detached: true,
    });
    const ended = exited(child);
    t.teardown(async () => {
      if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      await ended;
    });
    let output = '';
    const pid = await new Promise<number>((resolve, reject) => {
      void ended.then(() => reject(new Error(output)));
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (piece) => {
          output += String(piece);
          const ready = /"pid":(\d+)[^\n]*"msg":"ready"/.exec(output);
          if (ready !== null) resolve(Number(ready[1]));
        });
    });
    t.regex(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    const before = readdirSync(root).sort();
    process.kill(pid, 'SIGABRT');
    await ended;
    t.regex(output, /Aborted/);
    t.notRegex(output, /core dumped/);
    t.deepEqual(readdirSync(root).sort(), before);
  },
);
