import { join } from 'node:path';
import test from 'ava';
import { noFaults } from '../../../daemon/changes/faults.ts';
import { journalOver } from '../../../daemon/changes/journal.ts';
import { openDriver, openStore } from '../../../daemon/store/database.ts';
import { temporaryFolder } from '../../support/temp.ts';

test('the room that is made for one write serves all that failed before there was any', async (t) => {
  let failed = 0;
  const bothFailed = Promise.withResolvers<void>();
  let isFull = true;
  const open = async (file: string) => {
    const driver = await openDriver(file);
    return {
      ...driver,
      async exec(sql: string) {
        if (!isFull || !sql.includes('INSERT INTO changes')) return await driver.exec(sql);
        failed += 1;
        if (failed === 2) bothFailed.resolve();
        throw Object.assign(new Error('SQLITE_FULL: full'), { code: 'SQLITE_FULL' });
      },
    };
  };
  const store = await openStore(join(temporaryFolder(t), 'test.db'), { open });
  t.teardown(() => store.close());
  let asked = 0;
  const journal = journalOver(
    store,
    noFaults,
    () => 0,
    async () => {
      asked += 1;
      await bothFailed.promise;
      isFull = false;
      return asked === 1;
    },
  );
  const create = { kind: 'test', summary: 'x', ownerUid: 0, holds: [], tasks: [] };
  const events = [{ step: 'create' as const }];
  await Promise.all(
    [1, 2].map((changeId) => journal.append({ changeId, create, events, status: 'queued' })),
  );
  t.is(asked, 1);
  t.is(await journal.lastId(), 2);
});
