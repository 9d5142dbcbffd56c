import { lstatSync } from 'node:fs';
import { formatSize } from '../../ipc/values.ts';
import { ownBlocks } from '../kernel/own-blocks.ts';
import type { Enclave } from './enclave-rows.ts';
import { type EnclaveRoom, foldersOf, volumeOf } from './room.ts';

/**
 * Bytes of the volume that own no block of the disk: it was copied with holes, or a kernel gave some back (SECURITY 25). None of a volume of
 * another length: that is told elsewhere, and blocks would make it look whole.
 */
function missingBytes(room: EnclaveRoom, enclave: Enclave): number {
  const image = lstatSync(volumeOf(room, enclave), { throwIfNoEntry: false });
  return image?.size === enclave.bytes ? Math.max(0, enclave.bytes - image.blocks * 512) : 0;
}

/** Left for the rows of other changes: where nothing is left beside what is kept free (SECURITY 24) none begins, and no enclave opens. */
const LEFT_BYTES = 1024 ** 2;

/** Whether there is room for so much, beside what others are about to have. */
function fits(room: EnclaveRoom, bytes: number): boolean {
  const owed = [...room.taking].reduce((sum, one) => sum + missingBytes(room, one), 0);
  return room.spareBytes() >= owed + bytes + LEFT_BYTES;
}

/** Has the volume own its blocks again, open or closed: all of them or none, as a part would keep no write from failing. */
export async function takeBlocks(room: EnclaveRoom, enclave: Enclave): Promise<void> {
  const missing = missingBytes(room, enclave);
  if (missing === 0) return;
  if (fits(room, missing)) {
    room.taking.add(enclave);
    try {
      await ownBlocks(volumeOf(room, enclave), enclave.bytes);
    } finally {
      room.taking.delete(enclave);
    }
  }
  const left = missingBytes(room, enclave);
  room.log.warn({ enclave: enclave.name, missing, left }, 'an enclave did not own all its blocks');
}

/** What a person is told while blocks are missing; undefined when all are there. */
export function missingText(room: EnclaveRoom, enclave: Enclave): string | undefined {
  const missing = missingBytes(room, enclave);
  if (missing === 0) return undefined;
  return `${formatSize(missing)} of it are not set aside: make room on the file system of ${foldersOf(room)}, and open it anew, before a write in it fails`;
}
