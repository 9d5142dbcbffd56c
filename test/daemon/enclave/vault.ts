import { type ChildProcess, spawn } from 'node:child_process';
import { lstatSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Request } from '../../../daemon/api/rooms.ts';
import { pathsOf } from '../../../daemon/config/paths.ts';
import type { Daemon, Hooks } from '../../../daemon/wiring.ts';
import { requestWith } from '../../support/fscrypt.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { run } from '../../support/needs.ts';
import { type Asked, startSilent } from '../../support/silent-daemon.ts';

// The enclave `vault` of a daemon of one test.

export const MiB = 1024 ** 2;
const secret = 'x'.repeat(32);
/** Root with the right passphrase, and with another one. */
export const right = requestWith('the right one');
export const wrong = requestWith('the wrong one');
/** A user with the right passphrase. */
export const member: Request = { ...right, caller: { ...right.caller, uid: 1000, gid: 1000 } };

/** The changes of it. */
export const create =
  (
    request: Request = right,
    bytes = 16 * MiB,
    key: 'passphrase' | 'file' = 'passphrase',
    name = 'vault',
  ): Asked =>
  (methods) =>
    methods['enclave.create']({ name, bytes, key, secret, type: 'fscrypt' }, request);
export const open =
  (
    request: Request = right,
    more: { idleMs?: number; beforeSleep?: true } = {},
    enclave = 'vault',
  ): Asked =>
  (methods) =>
    methods['enclave.open']({ enclave, secret, ...more }, request);
export const close: Asked = (methods) => methods['enclave.close']({ enclave: 'vault' }, right);
export const closeByForce: Asked = (methods) =>
  methods['enclave.close']({ enclave: 'vault', force: true }, right);
export const remove: Asked = (methods) => methods['enclave.rm']({ enclave: 'vault' }, right);

/** A daemon on a tree of its own. */
export interface Place {
  root: string;
  daemon: Daemon;
  /** Where the enclave is while it is open. */
  path: string;
  /** Stops the daemon and starts it again. */
  again(): Promise<Daemon>;
}

/** Starts one; it ends with the test. */
export async function place(
  t: ExecutionContext,
  root = scratchFolder(t),
  hooks: Hooks = {},
): Promise<Place> {
  const found: Place = {
    root,
    daemon: await startSilent(root, hooks),
    path: join(pathsOf(root).run, 'enclaves/vault'),
    async again() {
      await found.daemon.stop();
      found.daemon = await startSilent(root);
      return found.daemon;
    },
  };
  t.teardown(() => found.daemon.stop());
  return found;
}

/** The volumes of all enclaves below `root`. */
export function volumesIn(root: string): string[] {
  const folder = join(pathsOf(root).state, 'enclaves');
  return readdirSync(folder).map((id) => join(folder, id, 'volume.ext4'));
}

/** Puts a copy with holes in the place of an image. */
export function copyWithHoles(image: string): void {
  run('cp', '--sparse=always', image, `${image}.copy`);
  renameSync(`${image}.copy`, image);
}

/** Bytes of an image that own no block of the disk. */
export function missingOf(image: string): number {
  const { size, blocks } = lstatSync(image);
  return Math.max(0, size - blocks * 512);
}

/** What is shown of it. */
export async function page(daemon: Daemon) {
  const methods = daemon.rooms.methods(daemon.engine);
  return (await methods['enclave.show']({ enclave: 'vault' }, right)).enclave;
}

/** A program that stands in the file's folder and has it open, and its end. */
export async function holder(
  t: ExecutionContext,
  file: string,
): Promise<{ child: ChildProcess; end(): Promise<unknown> }> {
  const child = spawn('tail', ['-c', '+1', '-f', file], {
    cwd: dirname(file),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return {
    child,
    end: () => {
      child.kill('SIGKILL');
      return gone;
    },
  };
}
