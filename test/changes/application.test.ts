import test from 'ava';
import { when } from '../support/needs.ts';
import { appSet } from './application-subjects.ts';
import { proveChange } from './proofs.ts';

const module = new URL('./application-subjects.ts', import.meta.url).href;

when(test, { root: true })('appSet: the shared proofs', async (t) => {
  t.timeout(280_000);
  await proveChange(t, appSet, { module, name: 'appSet' }, { crashes: false });
});
