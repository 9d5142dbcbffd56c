import { type Enclave, readEnclaves } from './enclave-rows.ts';
import { type EnclaveRoom, volumeOf } from './room.ts';
import { sealingOf } from './sealings.ts';
import { isShown } from './volume.ts';

/** Whether the volume of an enclave is what it was. What is in it has no digest, and its key is not here: nothing is said of that. */
export interface EnclaveHealth {
  name: string;
  owner: number;
  bytes: number;
  /** It is open. */
  mounted: boolean;
  errors: number;
  /** Absent when nothing is wrong with what can be looked at. */
  problem?: string;
}

function healthOf(room: EnclaveRoom, enclave: Enclave): EnclaveHealth {
  const { name, owner, bytes } = enclave;
  const known = { name, owner, bytes, mounted: isShown(room, name) };
  try {
    return { ...known, ...sealingOf(enclave).witness(volumeOf(room, enclave), enclave) };
  } catch (error) {
    return { ...known, errors: 0, problem: `it cannot be read: ${(error as Error).message}` };
  }
}

/** Looks at the volumes of all enclaves: their identity, and the errors that the kernel has noted. */
export async function healthOfEnclaves(room: EnclaveRoom): Promise<EnclaveHealth[]> {
  return (await readEnclaves(room.store)).map((enclave) => healthOf(room, enclave));
}
