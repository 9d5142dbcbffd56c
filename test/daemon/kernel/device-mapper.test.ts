import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { mappingsNamed } from '../../../daemon/kernel/device-mapper.ts';
import { temporaryFolder } from '../../support/temp.ts';

test('mappings are found by the begin of their names, and what lies on nothing is not live', (t) => {
  const root = temporaryFolder(t);
  const mappings = {
    'dm-0': 'other',
    'dm-1': 'enclave-a-1',
    'dm-2': 'enclave-a-2',
    'dm-3': 'enclave-ab-1',
  };
  for (const [block, name] of Object.entries(mappings)) {
    for (const folder of ['dm', 'slaves'])
      mkdirSync(join(root, block, folder), { recursive: true });
    writeFileSync(join(root, block, 'dm/name'), `${name}\n`);
  }
  mkdirSync(join(root, 'dm-1/slaves/loop0'));
  mkdirSync(join(root, 'dm-4')); // it is going
  mkdirSync(join(root, 'loop0'));
  t.deepEqual(mappingsNamed('enclave-a-', root), [
    { name: 'enclave-a-1', block: 'dm-1', live: true },
    { name: 'enclave-a-2', block: 'dm-2', live: false },
  ]);
  t.deepEqual(mappingsNamed('nothing-', root), []);
});
