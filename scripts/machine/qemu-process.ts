/** The process of a machine: it starts after every other machine ended, and ends with whoever started it. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { files, qemuArguments, qemuProgram, type Start } from './qemu.ts';

/** Two emulated guests on one machine make each other miss their deadlines, whichever checkout they belong to. */
const lockFile = '/tmp/personad-machine.lock';
const lockWaitMs = 20 * 60_000;
const waitSaidMs = 5_000;
const goneMs = 20_000;

/** A machine that outlives its starter ends by itself. */
const looseHours = 4;

/**
 * Starts qemu in `folder` and waits until it answers. `loose`: it outlives this process, by a few hours at most.
 * Throws what qemu says when it cannot start, or when another machine keeps running.
 */
export async function startQemu(folder: string, start: Start, loose: boolean): Promise<void> {
  for (const name of [files.agent, files.qemu, files.pid])
    rmSync(join(folder, name), { force: true });
  const wait = `--wait=${lockWaitMs / 1000}`;
  const argv = [
    ...(loose ? ['timeout', '--signal=KILL', `${looseHours}h`] : []),
    ...['setpriv', '--pdeathsig', 'KILL', 'flock', '--no-fork', '--exclusive', wait, lockFile],
    ...[qemuProgram, ...qemuArguments(start)],
  ];
  const log = openSync(join(folder, files.log), 'w');
  const [file = '', ...rest] = argv;
  const child = spawn(file, rest, { cwd: folder, detached: loose, stdio: ['ignore', log, log] });
  closeSync(log);
  if (loose) child.unref();
  await answers(folder, child);
}

async function answers(folder: string, child: ChildProcess): Promise<void> {
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  const startedMs = Date.now();
  const untilMs = startedMs + lockWaitMs + goneMs;
  let said = false;
  while (Date.now() < untilMs) {
    if (failure !== undefined) throw failure;
    if (child.exitCode !== null || child.signalCode !== null) {
      const log = readFileSync(join(folder, files.log), 'utf8').trim();
      throw new Error(`qemu did not start: ${log || 'another machine keeps running'}`);
    }
    if (await canConnect(join(folder, files.qemu))) return;
    if (!said && Date.now() - startedMs > waitSaidMs) {
      console.error('waiting: another machine is up on this host');
      said = true;
    }
    await sleep(20);
  }
  child.kill('SIGKILL');
  throw new Error('qemu did not start in time');
}

function canConnect(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => socket.destroy(resolve(true) as undefined));
    socket.once('error', () => resolve(false));
  });
}

/** The process of the machine in `folder`, or undefined when it does not run. */
export function qemuPid(folder: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(folder, files.pid), 'utf8'));
    const own = readlinkSync(`/proc/${pid}/cwd`) === realpathSync(folder);
    return own && readlinkSync(`/proc/${pid}/exe`).includes('qemu') ? pid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Waits until a process found by `qemuPid` is gone, which is when its files are free. Throws when it runs on for
 * `deadlineMs`.
 */
export async function qemuGone(pid: number, deadlineMs = goneMs): Promise<void> {
  const untilMs = Date.now() + deadlineMs;
  while (existsSync(`/proc/${pid}`)) {
    if (Date.now() > untilMs)
      throw new Error(`the machine still runs after ${deadlineMs / 1000} s`);
    await sleep(20);
  }
}

/** Ends qemu where it stands: the power is gone. */
export async function killQemu(folder: string): Promise<void> {
  const pid = qemuPid(folder);
  if (pid === undefined) return;
  process.kill(pid, 'SIGKILL');
  await qemuGone(pid);
}
