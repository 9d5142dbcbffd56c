import test from 'ava';
import { when } from '../support/needs.ts';
import { ramCreate, ramRemove } from './fast-subjects.ts';
import { course, proveFailures, proveKills, proveRepeat, proveStuck } from './proofs.ts';

const module = new URL('./fast-subjects.ts', import.meta.url).href;

for (const [name, subject] of Object.entries({ ramCreate, ramRemove }))
  when(test, { root: true })(`${name}: the shared proofs`, async (t) => {
    t.timeout(280_000);
    const seen = await course(t, subject);
    await proveRepeat(t, subject, seen);
    await proveFailures(t, subject, seen);
    await proveStuck(t, subject, seen);
    await proveKills(t, subject, seen, { module, name });
  });
