import { closeSync, constants, openSync, readSync } from 'node:fs';
import { deviceMapperProblem } from './device-mapper.ts';
import { startProgram } from './exec.ts';
import type { LockedBytes } from './locked-memory.ts';
import { findProgram } from './probe-host.ts';

/** Headers are written, one key slot is filled: a second; a machine that is emulated and busy takes a minute. */
const FORMAT_MS = 180_000;
const OPEN_MS = 120_000;

/** AES-256 in XTS mode needs two keys. */
const cipher = ['--cipher', 'aes-xts-plain64', '--key-size', '512', '--hash', 'sha256'];
/** The key of the one slot is random, so there is nothing for a slow function to protect. */
const slot = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
/** Of the 16 MiB that a header takes by itself this one needs less than one, in sectors of 512 bytes. */
const layout = ['--sector-size', '4096', '--luks2-keyslots-size', '512k', '--offset', '2048'];

// struct luks2_hdr_disk of the LUKS2 on-disk format.
const HEAD = 4096;
const MAGIC = Buffer.from('LUKS\xba\xbe\0\x02', 'latin1');
const LABEL = 24;
const LABEL_SIZE = 48;
const UUID = 168;
const UUID_SIZE = 40;

/** Whose a volume is, by its header. */
export interface LuksIdentity {
  uuid: string;
  label: string;
}

/** Why volumes cannot be encrypted by LUKS2 here; undefined when they can. */
export function luksProblem(): string | undefined {
  const missing = findProgram('cryptsetup') === undefined;
  return deviceMapperProblem() ?? (missing ? 'cryptsetup is not installed' : undefined);
}

/** Runs cryptsetup; the key goes to its standard input and nowhere else. Throws ProgramFailed. */
async function cryptsetup(args: string[], deadlineMs: number, key: LockedBytes): Promise<void> {
  const file = findProgram('cryptsetup');
  if (file === undefined) throw new Error('cryptsetup is not installed');
  const keyed = [...args, '--key-file', '-', '--keyfile-size', String(key.length)];
  const child = await startProgram({ file, args: keyed, deadlineMs }, { input: true });
  child.stdout.resume();
  child.stdin?.end(key.bytes());
  await child.done;
}

/** Writes a LUKS2 header into the file: everything before it is lost. */
export function formatLuks(image: string, by: LuksIdentity, key: LockedBytes): Promise<void> {
  const named = ['--uuid', by.uuid, '--label', by.label];
  const args = ['luksFormat', '--type', 'luks2', '--batch-mode', ...named, ...cipher, ...slot];
  return cryptsetup([...args, ...layout, image], FORMAT_MS, key);
}

/** Shows the plain content of a LUKS2 device as the mapping of this name. The key enters no keyring. */
export function openLuks(device: string, name: string, key: LockedBytes): Promise<void> {
  const args = ['open', '--type', 'luks2', '--disable-keyring', device, name];
  return cryptsetup(args, OPEN_MS, key);
}

const textAt = (head: Buffer, at: number, size: number): string =>
  head.toString('latin1', at, at + size).replace(/\0.*$/s, '');

/** What the header of a volume says of itself; undefined when it has none. Throws the error of open(2) or read(2). */
export function luksIdentity(image: string): LuksIdentity | undefined {
  const file = openSync(image, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const head = Buffer.alloc(HEAD);
    readSync(file, head, 0, HEAD, 0);
    if (!head.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
    return { uuid: textAt(head, UUID, UUID_SIZE), label: textAt(head, LABEL, LABEL_SIZE) };
  } finally {
    closeSync(file);
  }
}
