/** Files between host and guest: they travel as tar archives over the agent. */
import {
  createWriteStream,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { runProgram } from './host-program.ts';
import type { Machine } from './machine.ts';

const deadlineMs = 300_000;

/**
 * Copies `local` to the very path `remote` of the guest; a folder goes into the one that is there. What was brought
 * survives a power cut: a test that pulls the plug has its programs still.
 */
export async function putFiles(machine: Machine, local: string, remote: string): Promise<void> {
  await copyIn(machine, local, remote);
  await machine.must(['sync', '-f', remote], { deadlineMs });
}

async function copyIn(machine: Machine, local: string, remote: string): Promise<void> {
  const folder = lstatSync(local).isDirectory();
  if (!folder) {
    const mode = (lstatSync(local).mode & 0o7777).toString(8);
    const argv = ['install', '-D', '-m', mode, '/dev/stdin', remote];
    await machine.must(argv, { stdin: readFileSync(local), deadlineMs });
    return;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'personad-put-'));
  try {
    const archive = join(scratch, 'tree.tar');
    await runProgram(['tar', '-C', local, '--numeric-owner', '-cf', archive, '.'], { deadlineMs });
    await machine.must(['mkdir', '-p', remote]);
    const unpack = ['tar', '-C', remote, '--numeric-owner', '-xpf', '-'];
    await machine.must(unpack, { stdin: readFileSync(archive), deadlineMs });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Copies `remote` of the guest to the very path `local`; a folder goes into the one that is there. */
export async function getFiles(machine: Machine, remote: string, local: string): Promise<void> {
  const { status } = await machine.run(['test', '-d', remote]);
  const scratch = mkdtempSync(join(tmpdir(), 'personad-get-'));
  try {
    const archive = join(scratch, 'files.tar');
    const named = status === 0 ? [remote, '.'] : [dirname(remote), basename(remote)];
    await receive(machine, ['tar', '-C', named[0] ?? '', '-cf', '-', named[1] ?? ''], archive);
    if (status === 0) {
      mkdirSync(local, { recursive: true });
      await runProgram(['tar', '-C', local, '-xpf', archive], { deadlineMs });
    } else {
      await runProgram(['tar', '-C', scratch, '-xpf', archive], { deadlineMs });
      mkdirSync(dirname(local), { recursive: true });
      await runProgram(['mv', join(scratch, basename(remote)), local], { deadlineMs });
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function receive(machine: Machine, argv: string[], to: string): Promise<void> {
  const file = createWriteStream(to);
  let said = '';
  const status = await machine.stream(argv, { deadlineMs }, (stream, bytes) => {
    if (stream === 'out') file.write(bytes);
    else said += bytes.toString();
    return true;
  });
  file.end();
  await finished(file);
  if (status !== 0) throw new Error(`in the guest: ${argv.join(' ')}: status ${status}\n${said}`);
}
