import test from 'ava';
import { course, proveChange, proveCrashes, proveRepeat } from '../../changes/proofs.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { creating, importing, rebuilding, removing } from '../../support/persona-subjects.ts';

const whenRoot = when(test, confinedNeeds);
const module = new URL('../../support/persona-subjects.ts', import.meta.url).href;

whenRoot('proofs: removing a persona', async (t) => {
  t.timeout(600_000);
  await proveChange(t, removing, { module, name: 'removing' });
});

whenRoot('proofs: importing a file that is kept as it came', async (t) => {
  t.timeout(600_000);
  const seen = await course(t, importing);
  await proveRepeat(t, importing, seen);
  await proveCrashes(t, importing, seen);
});

for (const [name, subject] of Object.entries({ creating, rebuilding })) {
  whenRoot(`${name} twice over reaches the same`, async (t) => {
    t.timeout(300_000);
    await proveRepeat(t, subject, await course(t, subject));
  });
}
