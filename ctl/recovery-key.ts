import { randomBytes } from 'node:crypto';
import { PersonaError } from '../ipc/errors.ts';

/** Of Crockford: no letter that is taken for a digit, or makes words. Each stands for five bits. */
const letters = '0123456789abcdefghjkmnpqrstvwxyz';
const groups = 13;
const groupLetters = 4;

/** A new recovery key of 260 bits, in groups for who types it. */
export function newRecoveryKey(): string {
  const random = randomBytes(groups * groupLetters);
  const key = [...random].map((byte) => letters[byte % letters.length]).join('');
  random.fill(0);
  return key.replace(/.{4}(?!$)/g, '$&-');
}

/** The bytes of a recovery key as it was typed: groups, capitals and letters like digits make no difference. Throws `bad-value`. */
export function recoveryBytes(typed: string): Buffer {
  const plain = typed
    .toLowerCase()
    .replace(/[\s-]/g, '')
    .replaceAll('o', '0')
    .replace(/[il]/g, '1');
  if (plain.length === groups * groupLetters && [...plain].every((one) => letters.includes(one)))
    return Buffer.from(plain);
  throw new PersonaError('bad-value', {
    name: 'the recovery key',
    reason: `it has ${groups} groups of ${groupLetters} letters and digits`,
  });
}
