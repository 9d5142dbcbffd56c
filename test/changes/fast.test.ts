import test from 'ava';
import { hasZram } from '../../daemon/kernel/zram.ts';
import { when } from '../support/needs.ts';
import { ramCreate, ramRemove, zramCreate, zramRemove } from './fast-subjects.ts';
import { course, proveFailures, proveKills, proveRepeat, proveStuck } from './proofs.ts';

const module = new URL('./fast-subjects.ts', import.meta.url).href;

const subjects = { ramCreate, ramRemove, zramCreate, zramRemove };
const onZram = {
  tools: ['mkfs.ext4'],
  other: () => (hasZram() ? undefined : 'needs zram, which this kernel has not'),
};

for (const [name, subject] of Object.entries(subjects))
  when(test, { root: true, ...(name.startsWith('zram') ? onZram : {}) })(
    `${name}: the shared proofs`,
    async (t) => {
      t.timeout(280_000);
      const seen = await course(t, subject);
      await proveRepeat(t, subject, seen);
      await proveFailures(t, subject, seen);
      await proveStuck(t, subject, seen);
      await proveKills(t, subject, seen, { module, name });
    },
  );
