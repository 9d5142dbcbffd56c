import test from 'ava';
import { when } from '../support/needs.ts';
import { personaCreate, removeTemplate } from './daemon-subjects.ts';
import { type Course, course, proveFailures, proveKills, proveRepeat } from './proofs.ts';

const module = new URL('./daemon-subjects.ts', import.meta.url).href;
const proof = when(test, { root: true, tools: ['bwrap'] });
let seen: Course;

test.after.always(removeTemplate);

proof('creating a persona: each step run twice', async (t) => {
  seen = await course(t, personaCreate);
  await proveRepeat(t, personaCreate, seen);
});

// Each run starts confined children, so the undo that runs once is left to the other changes.
proof('creating a persona: a failure at each point', async (t) => {
  t.timeout(280_000);
  await proveFailures(t, personaCreate, seen, { undoOnce: false });
});

proof('creating a persona: killed by SIGKILL at each point', async (t) => {
  t.timeout(280_000);
  await proveKills(t, personaCreate, seen, { module, name: 'personaCreate' });
});
