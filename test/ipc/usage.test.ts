import test from 'ava';
import fc from 'fast-check';
import { wireLimits } from '../../ipc/protocol.ts';
import { limitReports } from '../../ipc/reports.ts';
import { createUsage } from '../../ipc/usage.ts';

const owner = 1000;
/** Ids from 100000 on belong to the owner. */
const ownerOf = (uid: number) => (uid >= 100_000 ? owner : uid);

test('a thousand subordinate ids have the places of one user, and root keeps its own', (t) => {
  const usage = createUsage(wireLimits, ownerOf);
  let connected = 0;
  let begun = 0;
  for (let uid = 100_000; uid < 101_000; uid += 1) {
    if (usage.connect(uid)) connected += 1;
    if (usage.begin(uid)) begun += 1;
  }
  t.is(connected, wireLimits.connectionsPerUid);
  t.is(begun, wireLimits.requestsPerUid);
  t.false(usage.connect(owner));
  t.true(usage.connect(2000));
  t.true(usage.connect(0) && usage.begin(0));
});

test('all users together leave places for root', (t) => {
  const usage = createUsage(wireLimits, ownerOf);
  for (let uid = 1; uid < 2000; uid += 1) usage.connect(uid);
  t.is(usage.total(), wireLimits.connectionsMax - wireLimits.connectionsForRoot);
  for (let n = 0; n < wireLimits.connectionsForRoot; n += 1) t.true(usage.connect(0));
  t.false(usage.connect(0));
});

test('places come back, whatever the order', (t) => {
  const limits = { ...wireLimits, connectionsMax: 12, connectionsForRoot: 2, connectionsPerUid: 3 };
  const steps = fc.array(fc.tuple(fc.constantFrom(0, 7, 8, 100_001, 100_002, owner), fc.boolean()));
  fc.assert(
    fc.property(steps, (list) => {
      const usage = createUsage(limits, ownerOf);
      const held: number[] = [];
      for (const [uid, take] of list) {
        const at = held.indexOf(uid);
        if (take && usage.connect(uid)) held.push(uid);
        if (!take && at >= 0) {
          held.splice(at, 1);
          usage.disconnect(uid);
        }
        const mine = held.filter((one) => ownerOf(one) === ownerOf(uid)).length;
        if (uid !== 0 && mine > limits.connectionsPerUid) return false;
        if (usage.total() !== held.length || held.length > limits.connectionsMax) return false;
      }
      for (const uid of held) usage.disconnect(uid);
      return usage.total() === 0 && usage.connect(7);
    }),
  );
  t.pass();
});

test('one user cannot fill the log', (t) => {
  const lines: string[] = [];
  let now = 0;
  const report = limitReports(
    (what, { uid, count }) => lines.push(`${what} ${uid} ${count}`),
    () => now,
    3,
  );
  for (let n = 0; n < 10; n += 1) report(7, 'x', {});
  report(8, 'x', {});
  t.is(lines.length, 4);
  now = 60_000;
  report(7, 'x', {});
  t.deepEqual(lines.slice(4), ['reports were left out 7 7', 'x 7 undefined']);
});
