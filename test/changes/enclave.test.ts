import test from 'ava';
import { fscryptNeeds } from '../support/fscrypt.ts';
import { when } from '../support/needs.ts';
import {
  enclaveClose,
  enclaveCreate,
  enclaveOpen,
  enclavePasswd,
  enclaveRecovery,
  enclaveRemove,
  removeEnclaves,
} from './enclave-subjects.ts';
import { proveChange } from './proofs.ts';

const module = new URL('./enclave-subjects.ts', import.meta.url).href;
const changes = {
  enclaveCreate,
  enclaveOpen,
  enclaveClose,
  enclavePasswd,
  enclaveRecovery,
  enclaveRemove,
};

test.after.always(removeEnclaves);

for (const [name, subject] of Object.entries(changes))
  when(test, fscryptNeeds)(`${name}: the shared proofs`, async (t) => {
    t.timeout(280_000);
    await proveChange(t, subject, { module, name }, { crashes: false });
  });
