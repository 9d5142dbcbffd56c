import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Needs } from '../../support/needs.ts';
import { needsVm } from './vm.ts';

const comesMs = 20_000;

/** What a test with an emulated TPM needs. */
export const needsTpm: Needs = { ...needsVm, tools: [...(needsVm.tools ?? []), 'swtpm'] };

/**
 * Starts an emulated TPM 2.0 for one start of a machine: it ends with that, or with this process. What it knows lies in `folder`: a new folder is
 * a new TPM. Returns its socket.
 */
export async function startTpm(folder: string, name: string): Promise<string> {
  const state = join(folder, name);
  const socket = join(folder, `${name}-${process.hrtime.bigint()}`);
  mkdirSync(state, { recursive: true });
  const argv = [
    ...['--pdeathsig', 'KILL', 'swtpm', 'socket', '--tpm2', '--terminate'],
    ...['--tpmstate', `dir=${state}`, '--ctrl', `type=unixio,path=${socket}`],
    ...['--flags', 'startup-clear'],
  ];
  const child = spawn('setpriv', argv, { stdio: 'ignore' });
  for (let waited = 0; !existsSync(socket); waited += 20) {
    if (child.exitCode !== null || waited > comesMs) throw new Error('swtpm does not start');
    await pause(20);
  }
  return socket;
}
