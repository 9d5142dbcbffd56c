import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { planCreate, planImport, planRemove } from '../../../daemon/personas/personas.ts';
import { mountImage } from '../../support/mount-image.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  named,
  openPersonaMachine,
  storeFacts,
  writeBaseTree,
} from '../../support/personas.ts';
import { temporaryFolder } from '../../support/temp.ts';

const whenRoot = when(test, {
  root: true,
  tools: ['bwrap', 'setpriv', 'prlimit', 'mkfs.ext4', 'losetup'],
});
const KiB = 1024;

/** Takes all but `left` bytes of the file system at `folder`. */
function fill(folder: string, left: number): () => void {
  const file = join(folder, 'fill');
  const fd = openSync(file, 'w');
  const zeros = Buffer.alloc(64 * KiB);
  let bytes = 0;
  try {
    for (;;) bytes += writeSync(fd, zeros);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(fd);
  }
  truncateSync(file, Math.max(0, bytes - left));
  return () => rmSync(file, { force: true });
}

whenRoot('a disk that fills up at any step leaves the store as it was', async (t) => {
  t.timeout(300_000);
  const folder = temporaryFolder(t);
  const image = join(folder, 'disk');
  const state = join(folder, 'state');
  writeFileSync(image, '');
  truncateSync(image, 32 * 1024 * KiB);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
  mkdirSync(state, { mode: 0o700 });
  mountImage(image, state);
  t.teardown(() => unmountBelow(folder));
  const machine = await openPersonaMachine(folder);
  await machine.engine.recover();
  t.teardown(() => machine.close());
  const tree = writeBaseTree(folder);
  await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'usr/big'), randomBytes(1024 * KiB));
  });
  const make = { name: 'work', base: 'one', tree: named(wanted) };
  await createPersona(t, machine, make);
  const file = join(folder, 'work.osp');
  writeFileSync(file, await exported(machine, 'work'));
  await machine.run(planRemove(machine.room, 'work', 0));
  const before = await storeFacts(machine);
  const plans = {
    create: () => planCreate(machine.room, make, 0),
    import: async () => planImport(machine.room, { source: named(file) }, 0),
  };
  for (const [what, plan] of Object.entries(plans)) {
    let failures = 0;
    for (const left of [0, 8, 600, 1100, 1500, 2200, 2600, 3400]) {
      const empty = fill(state, left * KiB);
      const result = await machine.run(plan());
      empty();
      const where = `${what} with ${left} KiB: ${JSON.stringify(result.error)}`;
      if (result.status === 'done') {
        await machine.run(planRemove(machine.room, 'work', 0));
      } else {
        failures += 1;
        t.is(result.status, 'failed', where);
        t.is(result.error?.code, 'no-space', where);
      }
      t.deepEqual(await storeFacts(machine), before, where);
    }
    t.true(failures > 2, `${what} failed ${failures} times`);
  }
});
