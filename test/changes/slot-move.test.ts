import test from 'ava';
import { when } from '../support/needs.ts';
import { removeTemplate, slotMove } from './daemon-subjects.ts';
import { proveChange } from './proofs.ts';

const module = new URL('./daemon-subjects.ts', import.meta.url).href;

test.after.always(removeTemplate);

when(test, { root: true, tools: ['bwrap', 'mkfs.ext4'] })(
  'slotMove: the shared proofs',
  async (t) => {
    t.timeout(500_000);
    await proveChange(t, slotMove, { module, name: 'slotMove' }, { crashes: false });
  },
);
