import test from 'ava';
import {
  course,
  proveCrashes,
  proveFailures,
  proveKills,
  proveRepeat,
  proveStuck,
  type Subject,
} from './proofs.ts';
import { committing, undoable } from './sample.ts';

const module = new URL('./sample.ts', import.meta.url).href;
const subjects: [string, Subject][] = [
  ['undoable', undoable],
  ['committing', committing],
];

for (const [name, subject] of subjects) {
  test(`${name}: each task run twice`, async (t) => {
    await proveRepeat(t, subject, await course(t, subject));
  });

  test(`${name}: a failure at each point, each undo once and twice`, async (t) => {
    await proveFailures(t, subject, await course(t, subject));
  });

  test(`${name}: a failing undo is stuck, visible and can be continued`, async (t) => {
    await proveStuck(t, subject, await course(t, subject));
  });

  test(`${name}: a crash at each point, and at each point of the recovery`, async (t) => {
    await proveCrashes(t, subject, await course(t, subject), { deep: true });
  });

  test(`${name}: killed by SIGKILL at each point`, async (t) => {
    await proveKills(t, subject, await course(t, subject), { module, name });
  });
}
