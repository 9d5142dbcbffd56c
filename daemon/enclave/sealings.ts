import type { Enclave, Way } from './enclave-rows.ts';
import { fscryptSealing } from './fscrypt-sealing.ts';
import { luksSealing } from './luks-sealing.ts';
import type { Sealing } from './sealing.ts';

const sealings: Record<Way, Sealing> = { fscrypt: fscryptSealing, luks2: luksSealing };

/** How this enclave is encrypted. */
export function sealingOf({ way }: Pick<Enclave, 'way'>): Sealing {
  return sealings[way];
}
