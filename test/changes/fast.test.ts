import test from 'ava';
import { hasZram } from '../../daemon/kernel/zram.ts';
import { type Needs, when } from '../support/needs.ts';
import * as subjects from './fast-subjects.ts';
import { proveChange } from './proofs.ts';

const module = new URL('./fast-subjects.ts', import.meta.url).href;

const onZram = {
  tools: ['mkfs.ext4'],
  other: () => (hasZram() ? undefined : 'needs zram, which this kernel has not'),
};

function needsOf(name: string): Needs {
  if (name.startsWith('zram')) return onZram;
  return /nvme/i.test(name) ? { tools: ['mkfs.ext4'] } : {};
}

for (const [name, subject] of Object.entries(subjects))
  when(test, { root: true, ...needsOf(name) })(`${name}: the shared proofs`, async (t) => {
    t.timeout(280_000);
    await proveChange(t, subject, { module, name }, { crashes: false });
  });
