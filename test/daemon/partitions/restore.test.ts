import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { pathsOf, runPlaces, statePlaces } from '../../../daemon/config/paths.ts';
import { createGroup, readKnob, removeGroup } from '../../../daemon/kernel/cgroups.ts';
import { bootId } from '../../../daemon/kernel/clock.ts';
import { lockFile } from '../../../daemon/kernel/files.ts';
import { LeaseBook } from '../../../daemon/partitions/lease-book.ts';
import { Leases } from '../../../daemon/partitions/leases.ts';
import { leaseFile, machineGround } from '../../../daemon/partitions/machine-ground.ts';
import { lockState } from '../../../daemon/system/state-tree.ts';
import { memory1Needs, memoryHierarchy } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { temporaryFolder } from '../../support/temp.ts';

test('a start waits for whoever gives back what a killed daemon has left, and for nobody else', async (t) => {
  const paths = pathsOf(temporaryFolder(t));
  for (const folder of [paths.run, paths.state]) mkdirSync(folder);
  const lock = join(paths.state, statePlaces.lock);
  const other = await lockFile(lock);
  await t.throwsAsync(lockState(paths), { message: /another daemon uses/ });
  other?.close();
  mkdirSync(join(paths.run, runPlaces.stops));
  for (const left of [runPlaces.leases, `${runPlaces.stops}/app`]) {
    const restoring = await lockFile(lock);
    writeFileSync(join(paths.run, left), '[]');
    const starting = lockState(paths);
    const first = await Promise.race([starting.then(() => 'started'), nextTurn('waiting')]);
    t.is(first, 'waiting');
    rmSync(join(paths.run, left));
    restoring?.close();
    (await starting).close();
  }
});

const program = fileURLToPath(new URL('../../../daemon/main.ts', import.meta.url));
const soft = 'memory.soft_limit_in_bytes';
when(test, memory1Needs)(
  'what a killed daemon has set goes back by --restore, but not while a daemon runs',
  async (t) => {
    const { at } = memoryHierarchy(1)!;
    const group = `persona-test-restore-${process.pid}`;
    const root = temporaryFolder(t);
    t.teardown(() => removeGroup(`${at}/${group}`));
    createGroup(`${at}/${group}`);
    const free = readKnob(`${at}/${group}`, soft);
    for (const folder of ['run', 'state']) mkdirSync(join(root, folder));
    const file = join(root, 'run/leases.json');
    const set = async () => {
      const book = LeaseBook.open(leaseFile(file));
      const leases = new Leases({
        book,
        ground: machineGround(false),
        boot: bootId(),
        now: () => 1,
      });
      const knob = { root: at, version: 1, controller: 'memory', group, knob: soft } as const;
      await leases.set(knob, '8192');
    };
    const restore = async () => {
      const args = ['--no-warnings', program, '--restore'];
      const env = { PATH: process.env.PATH, PERSONA_ROOT: root };
      return (await promisify(execFile)(process.execPath, args, { env })).stdout;
    };
    await set();
    t.is(readKnob(`${at}/${group}`, soft), '8192');
    const lock = await lockFile(join(root, 'state/.lock'));
    t.regex(await restore(), /a daemon runs/);
    t.is(readKnob(`${at}/${group}`, soft), '8192');
    lock?.close();
    t.regex(await restore(), /soft_limit_in_bytes of persona-test-restore-\d+ is \d+ again/);
    t.is(readKnob(`${at}/${group}`, soft), free);
    t.false(existsSync(file));
    t.false((await restore()).includes('again'));
    // What is no list of leases is put aside, and nothing is guessed from it.
    await set();
    writeFileSync(file, '[{"group":"x"}]');
    t.regex(await restore(), /held no leases/);
    t.is(readKnob(`${at}/${group}`, soft), '8192');
    t.true(existsSync(`${file}.damaged`));
  },
);
