import test from 'ava';
import { fscryptNeeds } from '../support/fscrypt.ts';
import { when } from '../support/needs.ts';
import {
  enclaveClose,
  enclaveCreate,
  enclaveOpen,
  enclaveRemove,
  removeEnclaves,
} from './enclave-subjects.ts';
import { course, proveFailures, proveKills, proveRepeat, proveStuck } from './proofs.ts';

const module = new URL('./enclave-subjects.ts', import.meta.url).href;
const changes = { enclaveCreate, enclaveOpen, enclaveClose, enclaveRemove };

test.after.always(removeEnclaves);

for (const [name, subject] of Object.entries(changes))
  when(test, fscryptNeeds)(`${name}: the shared proofs`, async (t) => {
    t.timeout(280_000);
    const seen = await course(t, subject);
    await proveRepeat(t, subject, seen);
    await proveFailures(t, subject, seen);
    await proveStuck(t, subject, seen);
    await proveKills(t, subject, seen, { module, name });
  });
