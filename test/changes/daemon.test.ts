import test from 'ava';
import { when } from '../support/needs.ts';
import {
  collect,
  personaRemove,
  removeTemplate,
  rollback,
  slotCreate,
  slotRemove,
  swapBack,
  swapFirst,
  swapNew,
  volumeCreate,
  volumeGrow,
  volumeRemove,
  volumeShrink,
} from './daemon-subjects.ts';
import { course, proveFailures, proveKills, proveRepeat, proveStuck } from './proofs.ts';

const module = new URL('./daemon-subjects.ts', import.meta.url).href;
const changes = {
  collect,
  personaRemove,
  rollback,
  slotCreate,
  slotRemove,
  swapBack,
  swapFirst,
  swapNew,
  volumeCreate,
  volumeGrow,
  volumeRemove,
  volumeShrink,
};

test.after.always(removeTemplate);

for (const [name, subject] of Object.entries(changes))
  when(test, { root: true, tools: ['bwrap'] })(`${name}: the shared proofs`, async (t) => {
    t.timeout(280_000);
    const seen = await course(t, subject);
    await proveRepeat(t, subject, seen);
    await proveFailures(t, subject, seen);
    await proveStuck(t, subject, seen);
    await proveKills(t, subject, seen, { module, name });
  });
