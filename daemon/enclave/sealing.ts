import type { Fd } from '../kernel/fd.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import type { Enclave } from './enclave-rows.ts';
import type { EnclaveRoom } from './room.ts';

/** One way to encrypt a volume: all in which the ways differ. `maker` is the path of mkfs.ext4. */
export interface Sealing {
  /** Fills the file of a new volume as far as that needs no key. */
  prepare(image: string, enclave: Enclave, maker: string): Promise<void>;
  /**
   * Makes the encryption, and the empty folder of the content, under this key; what an earlier try left is replaced. It is locked again. Returns
   * what the key is called.
   */
  seal(room: EnclaveRoom, enclave: Enclave, maker: string, key: LockedBytes): Promise<string>;
  /** Mounts the volume with this key, attached nowhere. What is unlocked already is mounted once more. Throws `state-damaged`. */
  unlock(room: EnclaveRoom, enclave: Enclave, identifier: string, key: LockedBytes): Promise<Fd>;
  /** Takes the mounts off, by `takeOff`, and the key away. True when somebody still held a file. Safe to repeat. */
  lock(room: EnclaveRoom, enclave: Enclave, takeOff: () => Promise<void>): Promise<boolean>;
  /** Whether the machine has anything of it, mounted in our sight or not. */
  isThere(room: EnclaveRoom, enclave: Enclave): Promise<boolean>;
  /** Looks at the volume without its key: whether it is the one that was made, and what the kernel has noted in it. */
  witness(image: string, enclave: Enclave): { problem?: string; errors: number };
}
