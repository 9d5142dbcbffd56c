import { missingText } from './blocks.ts';
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
    const witness = sealingOf(enclave).witness(volumeOf(room, enclave), enclave);
    const problem = witness.problem ?? missingText(room, enclave);
    return { ...known, errors: witness.errors, ...(problem === undefined ? {} : { problem }) };
  } catch (error) {
    return { ...known, errors: 0, problem: `it cannot be read: ${(error as Error).message}` };
  }
}

/** What of enclaves wants a person. */
export async function enclaveNotices(
  room: EnclaveRoom,
): Promise<{ text: string; command: string }[]> {
  return (await readEnclaves(room.store)).flatMap((enclave) => {
    const missing = missingText(room, enclave);
    if (missing === undefined) return [];
    return [{ text: `enclave ${enclave.name}: ${missing}`, command: 'personactl system df' }];
  });
}

/** Looks at the volumes of all enclaves: their identity, the errors that the kernel has noted, and that each of their blocks is set aside. */
export async function healthOfEnclaves(room: EnclaveRoom): Promise<EnclaveHealth[]> {
  return (await readEnclaves(room.store)).map((enclave) => healthOf(room, enclave));
}
