import { type Ext4Witness, witnessExt4 } from '../kernel/ext4-witness.ts';
import { labelOf, type Volume } from './volume.ts';

/** Whether the image is the one that the record beside it speaks of, and what errors the kernel has noted in it. 2 KiB are read of it. */
export function witnessVolume(image: string, { name, uuid, limitBytes }: Volume): Ext4Witness {
  try {
    return witnessExt4(image, { uuid, label: labelOf(name), bytes: limitBytes });
  } catch (error) {
    return { problem: `it cannot be read: ${(error as Error).message}`, errors: 0 };
  }
}
