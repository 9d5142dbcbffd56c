import { failedWith, withDetail } from './errno.ts';
import type { Fd } from './fd.ts';
import { declareInt } from './libc.ts';
import { LockedBytes } from './locked-memory.ts';

// Numbers and structures of linux/fscrypt.h.
const SET_POLICY = 0x800c6613;
const GET_POLICY_EX = 0xc0096616;
const ADD_KEY = 0xc0506617;
const REMOVE_KEY_ALL_USERS = 0xc0406619;

const POLICY_V2 = 2;
const POLICY_SIZE = 24;
const POLICY_IDENTIFIER = 8;
const AES_256_XTS = 1;
const AES_256_CTS = 4;
/** Names are padded to multiples of 32 bytes: the coarsest there is. */
const PAD_32 = 3;

const SPEC_IDENTIFIER = 2;
const SPEC_VALUE = 8;
const IDENTIFIER_SIZE = 16;
const ADD_KEY_SIZE = 80;
const ADD_KEY_RAW_SIZE = 40;
const REMOVE_KEY_SIZE = 64;
const REMOVE_KEY_STATUS = 40;
const FILES_BUSY = 1;

/** Bytes of a master key for AES-256-XTS. */
export const fscryptKeyBytes = 64;

const ioctl = declareInt('ioctl', ['int', 'u64', 'bytes']);

/**
 * Gives the file system this master key, for all its mounts until it ends or the key is removed. Returns the key's identifier (hex), which
 * tells nothing of the key. Throws KernelError EOPNOTSUPP or ENOTTY where file system or kernel do not encrypt.
 * @param root an open folder of the file system.
 */
export function addFileSystemKey(root: Fd, key: LockedBytes): string {
  using request = new LockedBytes(ADD_KEY_SIZE + fscryptKeyBytes);
  const bytes = request.bytes();
  bytes.writeUInt32LE(SPEC_IDENTIFIER, 0);
  bytes.writeUInt32LE(key.length, ADD_KEY_RAW_SIZE);
  key.bytes().copy(bytes, ADD_KEY_SIZE);
  try {
    ioctl(root.number, ADD_KEY, bytes);
  } catch (error) {
    throw withDetail(error, `(add a key to ${root.what})`);
  }
  return bytes.toString('hex', SPEC_VALUE, SPEC_VALUE + IDENTIFIER_SIZE);
}

/**
 * Takes the master key away, whoever added it, and with it the plain content of every file that nobody has open: what is not written yet is
 * written first. `there` says that there was one, `busy` that files are still in use: those stay readable to their users until they close them.
 */
export async function removeFileSystemKey(
  root: Fd,
  identifier: string,
): Promise<{ there: boolean; busy: boolean }> {
  const request = Buffer.alloc(REMOVE_KEY_SIZE);
  request.writeUInt32LE(SPEC_IDENTIFIER, 0);
  request.write(identifier, SPEC_VALUE, 'hex');
  try {
    await ioctl.laterSurely(root.number, REMOVE_KEY_ALL_USERS, request);
  } catch (error) {
    if (failedWith(error, 'ENOKEY')) return { there: false, busy: false };
    throw withDetail(error, `(remove a key from ${root.what})`);
  }
  return { there: true, busy: (request.readUInt32LE(REMOVE_KEY_STATUS) & FILES_BUSY) !== 0 };
}

/**
 * Makes the empty folder encrypted, with all that will ever be in it: contents by AES-256-XTS, names by AES-256-CBC-CTS, under the key of this
 * identifier, which the file system must have. Throws KernelError EEXIST when it is encrypted under another.
 */
export function encryptFolder(folder: Fd, identifier: string): void {
  const policy = Buffer.from([POLICY_V2, AES_256_XTS, AES_256_CTS, PAD_32]);
  const bytes = Buffer.concat([policy, Buffer.alloc(POLICY_SIZE - policy.length)]);
  bytes.write(identifier, POLICY_IDENTIFIER, 'hex');
  try {
    ioctl(folder.number, SET_POLICY, bytes);
  } catch (error) {
    throw withDetail(error, `(encrypt ${folder.what})`);
  }
}

/** The identifier of the key under which a folder is encrypted by this very policy; undefined when it is not. */
export function encryptedUnder(folder: Fd): string | undefined {
  const bytes = Buffer.alloc(8 + POLICY_SIZE);
  bytes.writeBigUInt64LE(BigInt(POLICY_SIZE), 0);
  try {
    ioctl(folder.number, GET_POLICY_EX, bytes);
  } catch (error) {
    if (failedWith(error, 'ENODATA')) return undefined;
    throw withDetail(error, `(ask for the encryption of ${folder.what})`);
  }
  const [version, contents, names] = bytes.subarray(8);
  if (version !== POLICY_V2 || contents !== AES_256_XTS || names !== AES_256_CTS) return undefined;
  return bytes.toString('hex', 8 + POLICY_IDENTIFIER, 8 + POLICY_IDENTIFIER + IDENTIFIER_SIZE);
}
