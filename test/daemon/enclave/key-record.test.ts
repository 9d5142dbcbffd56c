import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { derivationText, derive } from '../../../daemon/enclave/key-derivation.ts';
import {
  type KeyRecord,
  newMasterKey,
  readKeyRecord,
  unwrap,
  wrap,
  writeKeyRecord,
} from '../../../daemon/enclave/key-record.ts';
import { lockedPlacesInUse } from '../../../daemon/kernel/locked-memory.ts';
import { lockedBytes } from '../../support/fscrypt.ts';
import { temporaryFolder } from '../../support/temp.ts';

test.serial('the right secret unwraps the key, any other nothing', async (t) => {
  using secret = lockedBytes('right');
  using master = newMasterKey();
  const record = await wrap('id', 'identifier', master, secret);
  t.regex(derivationText(record.derivation), /^(argon2id, 64 MiB, 3 passes|scrypt, N 65536)/);
  const again = await unwrap(record, secret);
  t.deepEqual(again?.bytes(), master.bytes());
  again?.wipe();
  using other = lockedBytes('wrong');
  t.is(await unwrap(record, other), undefined);
  const text = JSON.stringify(record);
  for (const hidden of [master.bytes().toString('hex'), 'right']) t.false(text.includes(hidden));
  // Bound to its enclave, and every bit of it counts.
  const flipped = record.wrapped.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  const changes: Partial<KeyRecord>[] = [
    { id: 'another' },
    { wrapped: flipped },
    { tag: '0'.repeat(32) },
    { nonce: '0'.repeat(24) },
    { derivation: { ...record.derivation, salt: '0'.repeat(32) } },
  ];
  for (const change of changes) t.is(await unwrap({ ...record, ...change }, secret), undefined);
  await t.throwsAsync(unwrap({ ...record, tag: '00' }, secret), undefined, 'a short tag is none');
});

test.serial(
  'both functions give equal keys for equal parameters; too much memory is refused',
  async (t) => {
    const salt = '00'.repeat(16);
    using secret = lockedBytes('x');
    for (const derivation of [
      { kind: 'argon2id', salt, memoryKiB: 64, passes: 1, lanes: 1 } as const,
      { kind: 'scrypt', salt, cost: 16, blockSize: 8, lanes: 1 } as const,
    ]) {
      using one = lockedBytes(Buffer.alloc(32));
      using two = lockedBytes(Buffer.alloc(32));
      await derive(derivation, secret, one);
      await derive(derivation, secret, two);
      t.deepEqual(one.bytes(), two.bytes());
      t.notDeepEqual(one.bytes(), Buffer.alloc(32));
    }
    using into = lockedBytes(Buffer.alloc(32));
    const greedy = { kind: 'argon2id', salt, memoryKiB: 2 ** 21, passes: 1, lanes: 1 } as const;
    await t.throwsAsync(derive(greedy, secret, into), { code: 'state-damaged' });
  },
);

test.serial('a record that is lost, damaged or of another enclave is refused', async (t) => {
  using secret = lockedBytes('right');
  using master = newMasterKey();
  const path = join(temporaryFolder(t), 'key.json');
  const record = await wrap('id', 'identifier', master, secret);
  await writeKeyRecord(path, record);
  t.deepEqual(await readKeyRecord(path, 'id'), record);
  await t.throwsAsync(readKeyRecord(path, 'other'), { code: 'state-damaged' });
  const text = readFileSync(path, 'utf8');
  rmSync(path);
  await t.throwsAsync(readKeyRecord(path, 'id'), { code: 'state-damaged' });
  writeFileSync(path, text.replace('identifier', 'identifiex'));
  await t.throwsAsync(readKeyRecord(path, 'id'), { code: 'state-damaged' });
});

test.after.always('no key is left in memory', (t) => {
  t.is(lockedPlacesInUse(), 0);
});
