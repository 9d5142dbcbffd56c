import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { type Migration, migrations } from '../../../daemon/store/migrate.ts';
import { unmountBelow } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { furnish, mustDo, rootRequest, startSilent } from '../../support/silent-daemon.ts';

// A new version of the program over a state with an active slot, and the way back.

const newest = migrations.at(-1)?.version ?? 0;
const next: Migration = {
  version: newest + 1,
  sql: "ALTER TABLE slots ADD COLUMN later TEXT NOT NULL DEFAULT 'x';",
};
const broken: Migration = { version: newest + 1, sql: 'ALTER TABLE no_such_table ADD COLUMN a;' };

async function inUse(t: ExecutionContext): Promise<{ root: string; mine: string }> {
  const root = mkdtempSync(join(tmpdir(), 'personad-upgrade-'));
  t.teardown(async () => {
    await unmountBelow(root);
    rmSync(root, { recursive: true, force: true });
  });
  const daemon = await startSilent(root);
  await furnish(daemon, root);
  const mine = join(root, 'run/slots/work/root/etc/mine');
  writeFileSync(mine, 'precious');
  await daemon.stop();
  return { root, mine };
}

const shown = (root: string) =>
  readMountinfo()
    .filter(({ at, type }) => type === 'overlay' && at.startsWith(`${root}/run/slots/work/`))
    .map(({ id }) => id);

when(test, { root: true, tools: ['bwrap'] })(
  'a new version takes up a state with an active slot, which stays shown',
  async (t) => {
    const { root, mine } = await inUse(t);
    const before = shown(root);
    t.is(before.length, 1);
    const daemon = await startSilent(root, { steps: [...migrations, next] });
    t.is(daemon.degraded, undefined);
    t.deepEqual(shown(root), before, 'it is the very same mount');
    t.is((await daemon.store.get('SELECT later FROM slots'))?.later, 'x');
    await mustDo(daemon, (m) => m['slot.swap']({ slot: 'work', persona: 'a' }, rootRequest));
    await mustDo(daemon, (m) => m['slot.rollback']({ slot: 'work' }, rootRequest));
    t.is(readFileSync(mine, 'utf8'), 'precious');
    await daemon.stop();

    // And back: refused, without a touch.
    const file = join(root, 'state/personad.db');
    const bytes = readFileSync(file);
    await t.throwsAsync(startSilent(root), { code: 'format-too-new' });
    t.true(readFileSync(file).equals(bytes));
    t.is(readFileSync(mine, 'utf8'), 'precious');
  },
);

when(test, { root: true, tools: ['bwrap'] })(
  'an upgrade that fails leaves the old version a state it can start with, slots shown',
  async (t) => {
    const { root, mine } = await inUse(t);
    const before = shown(root);
    await t.throwsAsync(startSilent(root, { steps: [...migrations, broken] }));
    t.deepEqual(shown(root), before);
    t.is(readFileSync(mine, 'utf8'), 'precious');
    const daemon = await startSilent(root);
    t.is(daemon.degraded, undefined);
    t.deepEqual(shown(root), before);
    await mustDo(daemon, (m) => m['slot.swap']({ slot: 'work', persona: 'a' }, rootRequest));
    await daemon.stop();
  },
);
