import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Plan } from '../../../daemon/changes/change.ts';
import { planBaseImport } from '../../../daemon/personas/base-import.ts';
import { planBaseRemoval } from '../../../daemon/personas/base-rm.ts';
import { planCreate, planImport, planRemove } from '../../../daemon/personas/personas.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import {
  changedTree,
  exported,
  importBase,
  named,
  personaMachine,
  storeFacts,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';

// SECURITY 6: what cannot be made durable fails the change, and is written anew, never synced a second time. (A journal that
// cannot be written: test/daemon/changes/engine.test.ts. Syncs that lie: test/power-cut/.)

const rooted = when(test, confinedNeeds);
/** No change syncs so often. */
const syncsMax = 60;

/** What has failed, and is therefore not to be trusted any more. */
interface Fault {
  struck: boolean;
  /** A file whose sync failed was synced again. */
  again: boolean;
}

/** Every sync of the daemon goes through this one function: the one with this number fails, as a disk would. */
async function failSync(number: number, work: (fault: Fault) => Promise<void>): Promise<Fault> {
  const handle = await open('/dev/null');
  const kind = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = kind;
  const fault: Fault = { struck: false, again: false };
  let left = number;
  let lost: string | undefined;
  kind.sync = async function (this: FileHandle) {
    const stat = await this.stat();
    const file = `${stat.ino} ${stat.birthtimeMs}`;
    if (file === lost) fault.again = true;
    left -= 1;
    if (left !== -1) return sync.call(this);
    fault.struck = true;
    // The names of a folder cannot be written anew: only what is asked of files is asked here.
    if (stat.isFile()) lost = file;
    throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' });
  };
  try {
    await work(fault);
  } finally {
    kind.sync = sync;
  }
  return fault;
}

rooted('an import or a creation with any one sync failing fails, and leaves nothing', async (t) => {
  t.timeout(300_000);
  const machine = await personaMachine(t);
  const { room, folder, run } = machine;
  const tree = writeBaseTree(folder);
  await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(folder, 'wanted'), () => {});
  await writeFile(join(wanted, 'etc/new'), 'new');
  const make = { name: 'work', base: 'one', tree: named(wanted) };
  t.is((await run(planCreate(room, make, 0))).status, 'done');
  const file = await exported(machine, 'work');
  await run(planRemove(room, 'work', 0));
  const drop = () => run(planRemove(room, 'work', 0));
  const other = { name: 'two', source: { kind: 'path', path: wanted } } as const;
  const kinds: Record<string, { plan: () => Promise<Plan> | Plan; undo: () => Promise<unknown> }> =
    {
      'base.import': {
        plan: () => planBaseImport(room, other, 0),
        undo: () => run(planBaseRemoval(room, { base: 'two' }, 0)),
      },
      'persona.create': { plan: () => planCreate(room, make, 0), undo: drop },
      'persona.import': {
        plan: () => planImport(room, { source: uploaded(machine, file) }, 0),
        undo: drop,
      },
    };
  const before = await storeFacts(machine);
  for (const [name, { plan, undo }] of Object.entries(kinds)) {
    let failures = 0;
    for (let number = 0; number < syncsMax; number += 1) {
      const where = `${name}, sync ${number}`;
      const planned = await plan();
      const fault = await failSync(number, async (struck) => {
        const result = await run(planned);
        t.is(result.status, struck.struck ? 'failed' : 'done', where);
        if (result.status === 'failed') t.regex(result.error?.message ?? '', /EIO|i\/o/, where);
      });
      t.false(fault.again, `${where}: synced again`);
      if (!fault.struck) break;
      failures += 1;
      t.deepEqual(await storeFacts(machine), before, `${where}: nothing half made`);
    }
    t.true(failures >= 2, `${name} syncs ${failures} times`);
    await undo();
    t.deepEqual(await storeFacts(machine), before, name);
  }
});
