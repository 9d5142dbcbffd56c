import test from 'ava';
import { when } from '../support/needs.ts';
import { randomFrom } from './crash-states.ts';
import { kinds, needsRecordedDisk } from './recorded-disk.ts';
import { chooseCuts, cutPower, record, type Sync } from './rounds.ts';

// The test of the test: with one sync that does nothing, the same rounds must find damage. On btrfs, where a sync makes
// nothing else durable with it: the journal of ext4 would stand in for a broken sync of a folder at the next commit.

/** Each of these alone; `POWER_CUTS_EACH=1` also breaks every place that syncs, one after the other. */
const broken: Sync[] = ['file', 'folder', 'database'];
const each: Sync[] = [
  'from:syncFolder < #makeFolders',
  'from:syncFolder < moveDurably < adoptLayer',
  'from:syncFolder < moveDurably < place',
  'from:syncFolder < writeDurably',
  'from:syncFolder < removeFile',
  'from:syncFolder < ensureFolder',
  'from:writeDurably < writeRecord',
  'from:writeDurably < ensureMachineKey',
  'from:buildImage',
  'from:pack',
  'from:Staging.write',
];
const count = Number(process.env.POWER_CUTS ?? 24);
const attempts = 3;

for (const sync of process.env.POWER_CUTS_EACH === '1' ? [...broken, ...each] : broken)
  when(test, needsRecordedDisk(kinds.btrfs))(`a broken sync is noticed: ${sync}`, async (t) => {
    t.timeout(600_000);
    let looked = 0;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const recording = await record(t, kinds.btrfs, sync);
      const seed = Math.floor(Math.random() * 2 ** 31);
      const cuts = chooseCuts(recording, count, randomFrom(seed));
      const found = ({ faults }: { faults: string[] }) => faults.length > 0;
      const verdicts = await cutPower(recording, cuts, seed, found);
      looked += verdicts.length;
      const damaged = verdicts.find(found);
      if (damaged === undefined) continue;
      t.log(`state ${looked}: ${damaged.faults[0]?.slice(0, 200)}`);
      t.pass();
      return;
    }
    t.fail(`${looked} states, and no damage was found`);
  });
