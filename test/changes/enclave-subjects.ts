import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json } from '../../daemon/changes/task.ts';
import { pathsOf } from '../../daemon/config/paths.ts';
import { statMount } from '../../daemon/kernel/stat-mount.ts';
import type { Daemon } from '../../daemon/wiring.ts';
import { requestWith } from '../support/fscrypt.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Asked, mustDo } from '../support/silent-daemon.ts';
import type { Subject } from './machine.ts';
import { silentSubject, startForProof } from './silent-subjects.ts';

// The changes of enclaves on the real daemon: real volumes, real keys in the kernel, real mounts.

/** A path without a name of its own: images are found again by it. */
const fixedFolder =
  process.env.PERSONAD_ENCLAVE_FOLDER ?? join(tmpdir(), `personad-enclaves-${process.pid}`);
process.env.PERSONAD_ENCLAVE_FOLDER = fixedFolder;
const template = `${fixedFolder}.template`;

const request = requestWith('passphrase of the proofs');
const canary = 'canary of the proofs';
const bytes = 16 * 1024 ** 2;
const key = 'passphrase' as const;
const secret = 'x'.repeat(32);

const create: Asked = (methods) =>
  methods['enclave.create']({ name: 'vault', bytes, key, secret, type: 'fscrypt' }, request);
const open: Asked = (methods) => methods['enclave.open']({ enclave: 'vault', secret }, request);
const close: Asked = (methods) => methods['enclave.close']({ enclave: 'vault' }, request);
const remove: Asked = (methods) => methods['enclave.rm']({ enclave: 'vault' }, request);

const passwd: Asked = (methods) =>
  methods['enclave.passwd']({ enclave: 'vault', secret, new: { key: 'file', secret } }, request);

const recovery: Asked = (methods) =>
  methods['enclave.recovery']({ enclave: 'vault', secret, recovery: secret }, request);

const placeOf = (folder: string) => join(pathsOf(folder).run, 'enclaves/vault');

/** A closed enclave with a file in it; built once per process. */
async function buildTemplate(): Promise<void> {
  if (existsSync(template)) return;
  rmSync(fixedFolder, { recursive: true, force: true });
  mkdirSync(fixedFolder, { recursive: true });
  const daemon = await startForProof(fixedFolder);
  try {
    for (const step of [create, open]) await mustDo(daemon, step);
    writeFileSync(join(placeOf(fixedFolder), 'note'), canary);
    await mustDo(daemon, close);
  } finally {
    await daemon.stop();
  }
  await unmountBelow(fixedFolder);
  renameSync(fixedFolder, template);
}

/** Removes the template and the folder of the machines. */
export async function removeEnclaves(): Promise<void> {
  await unmountBelow(fixedFolder);
  for (const folder of [fixedFolder, template]) rmSync(folder, { recursive: true, force: true });
}

function shown(place: string): string | null {
  if (!existsSync(place) || !statMount(place).isMountRoot) return null;
  const note = join(place, 'note');
  return existsSync(note) ? readFileSync(note, 'utf8') : 'without the note';
}

/** Rows, files and what is shown; ids, keys and times are left out. */
async function observe({ store }: Daemon, folder: string): Promise<Json> {
  const { state, run: runFolder } = pathsOf(folder);
  const aside = join(runFolder, 'enclaves/.aside/vault');
  const enclaves = join(state, 'enclaves');
  return {
    rows: (await store.all(
      "SELECT name, owner, bytes, json_extract(detail, '$.key') AS key, opened IS NOT NULL AS open FROM enclaves",
    )) as unknown as Json,
    files: readdirSync(enclaves, { recursive: true, encoding: 'utf8' })
      .map((name) => name.replace(/^[0-9a-f-]{36}/, 'ID'))
      .sort(),
    shown: shown(placeOf(folder)),
    aside: shown(aside),
  };
}

function subject(asked: Asked, before: 'nothing' | 'closed' | 'open'): Subject {
  return silentSubject(asked, observe, {
    folder: fixedFolder,
    async prepare(folder) {
      await unmountBelow(folder);
      rmSync(folder, { recursive: true, force: true });
      if (before === 'nothing') return void mkdirSync(folder, { recursive: true });
      await buildTemplate();
      cpSync(template, folder, { recursive: true, preserveTimestamps: true });
      if (before === 'closed') return;
      const daemon = await startForProof(folder);
      try {
        await mustDo(daemon, open);
      } finally {
        await daemon.stop();
      }
    },
  });
}

/** A new enclave. */
export const enclaveCreate = subject(create, 'nothing');
/** Of one with a file in it. */
export const enclaveOpen = subject(open, 'closed');
/** Of one that nobody uses. */
export const enclaveClose = subject(close, 'open');
/** Of one that a passphrase opens; a file does from then on. */
export const enclavePasswd = subject(passwd, 'closed');
/** Of one that has no recovery key yet. */
export const enclaveRecovery = subject(recovery, 'closed');
/** Of one that is closed. */
export const enclaveRemove = subject(remove, 'closed');
