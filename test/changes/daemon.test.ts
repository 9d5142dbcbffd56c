import test from 'ava';
import { when } from '../support/needs.ts';
import {
  collect,
  personaRemove,
  removeTemplate,
  rollback,
  slotCreate,
  slotCreateInVolume,
  slotRemove,
  swapBack,
  swapFirst,
  swapNew,
  volumeCreate,
  volumeGrow,
  volumeMove,
  volumeRemove,
  volumeShrink,
} from './daemon-subjects.ts';
import { proveChange } from './proofs.ts';

const module = new URL('./daemon-subjects.ts', import.meta.url).href;
const changes = {
  collect,
  personaRemove,
  rollback,
  slotCreate,
  slotCreateInVolume,
  slotRemove,
  swapBack,
  swapFirst,
  swapNew,
  volumeCreate,
  volumeGrow,
  volumeMove,
  volumeRemove,
  volumeShrink,
};

test.after.always(removeTemplate);

for (const [name, subject] of Object.entries(changes))
  when(test, { root: true, tools: ['bwrap'] })(`${name}: the shared proofs`, async (t) => {
    t.timeout(280_000);
    await proveChange(t, subject, { module, name }, { crashes: false });
  });
