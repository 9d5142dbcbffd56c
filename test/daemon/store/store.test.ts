import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { configure, openDriver, openStore } from '../../../daemon/store/database.ts';
import { applicationId, migrate, migrations } from '../../../daemon/store/migrate.ts';
import type { Driver, Store } from '../../../daemon/store/store.ts';
import { openNodeDriver } from './node-sqlite.ts';

type Open = (file: string) => Promise<Driver>;
const drivers: [string, Open][] = [
  ['sqlite3', openDriver],
  ['node:sqlite', openNodeDriver],
];

function place(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-store-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'test.db');
}

async function opened(t: ExecutionContext, open: Open, file = place(t)): Promise<Store> {
  const store = await openStore(file, { open });
  t.teardown(() => store.close());
  return store;
}

const fact = 'INSERT INTO facts (name, value) VALUES (?, ?)';

for (const [name, open] of drivers) {
  test(`${name}: a commit is read back, whole or not at all`, async (t) => {
    const store = await opened(t, open);
    await store.commit((tx) => {
      tx.run(fact, 'a', '1');
      tx.run(fact, 'b', '2');
    });
    await t.throwsAsync(
      store.commit((tx) => {
        tx.run(fact, 'c', '3');
        tx.run(fact, 'a', 'again');
      }),
    );
    t.deepEqual(await store.all('SELECT * FROM facts ORDER BY name'), [
      { name: 'a', value: '1' },
      { name: 'b', value: '2' },
    ]);
    t.is(await store.get('SELECT * FROM facts WHERE name = ?', 'c'), undefined);
  });

  test(`${name}: a collector that throws commits nothing`, async (t) => {
    const store = await opened(t, open);
    await t.throwsAsync(
      store.commit((tx) => {
        tx.run(fact, 'a', '1');
        throw new Error('no');
      }),
    );
    t.deepEqual(await store.all('SELECT * FROM facts'), []);
  });

  test(`${name}: kept rows are those of now, whatever kind of transaction came before`, async (t) => {
    const asked: string[] = [];
    const store = await opened(t, async (file) => {
      const driver = await open(file);
      const all: Driver['all'] = (sql, values) => {
        asked.push(sql);
        return driver.all(sql, values);
      };
      return { ...driver, all };
    });
    const query = 'SELECT count(*) AS n FROM facts';
    const count = async () => (await store.kept(query))[0]?.n;
    await store.commit((tx) => tx.run(fact, 'a', '1'));
    asked.length = 0;
    t.deepEqual(await Promise.all([count(), count()]), [1, 1]);
    t.is(await count(), 1);
    t.deepEqual(asked, [query]);
    // Asked for before the transaction has ended, and right after it was.
    const commit = store.commit((tx) => tx.run(fact, 'b', '1'));
    t.is(await count(), 2);
    await commit;
    const unflushed = store.commitUnflushed((tx) => tx.run(fact, 'c', '1'));
    t.is(await count(), 3);
    await unflushed;
    const soon = store.commitSoon((tx) => tx.run(fact, 'd', '1'));
    t.is(await count(), 4);
    await soon;
    await t.throwsAsync(store.kept('SELECT * FROM later_on'));
    await store.commit((tx) => tx.run('CREATE TABLE later_on (one TEXT)'));
    t.deepEqual(await store.kept('SELECT * FROM later_on'), []);
  });

  test(`${name}: concurrent commits and reads never interleave`, async (t) => {
    const store = await opened(t, open);
    const writes = Array.from({ length: 50 }, (_, n) =>
      store.commit((tx) => {
        tx.run(fact, `${n}-first`, 'x');
        tx.run(fact, `${n}-second`, 'x');
      }),
    );
    const reads = Array.from({ length: 50 }, () =>
      store.get<{ n: number }>('SELECT count(*) AS n FROM facts'),
    );
    for (const row of await Promise.all(reads)) t.is(row!.n % 2, 0);
    await Promise.all(writes);
    t.is((await store.get<{ n: number }>('SELECT count(*) AS n FROM facts'))?.n, 100);
  });

  test(`${name}: a soon-commit is seen by the next read, keeps order, survives the close`, async (t) => {
    const file = place(t);
    const store = await openStore(file, { open });
    const first = store.commitSoon((tx) => tx.run(fact, 'a', '1'));
    await store.commit((tx) => tx.run("UPDATE facts SET value = value || '2'"));
    await first;
    t.is((await store.get('SELECT value FROM facts'))?.value, '12');
    const last = store.commitSoon((tx) => tx.run("UPDATE facts SET value = value || '3'"));
    t.is((await store.get('SELECT value FROM facts'))?.value, '123');
    await last;
    const closing = store.commitSoon((tx) => tx.run("UPDATE facts SET value = value || '4'"));
    await store.close();
    await closing;
    await t.throwsAsync(store.commit((tx) => tx.run(fact, 'late', '')));
    const again = await opened(t, open, file);
    t.is((await again.get('SELECT value FROM facts'))?.value, '1234');
  });

  test(`${name}: a soon-commit that fails does not take its company down`, async (t) => {
    const store = await opened(t, open);
    await store.commit((tx) => tx.run(fact, 'a', '1'));
    const bad = store.commitSoon((tx) => tx.run(fact, 'a', 'again'));
    const good = store.commitSoon((tx) => tx.run(fact, 'b', '2'));
    const asked = store.commit((tx) => tx.run(fact, 'c', '3'));
    await t.throwsAsync(bad);
    await good;
    await asked;
    t.is((await store.get<{ n: number }>('SELECT count(*) AS n FROM facts'))?.n, 3);
  });

  test(`${name}: what is asked to be durable is, whatever was written before it`, async (t) => {
    const said: string[] = [];
    const store = await opened(t, async (file) => {
      const driver = await open(file);
      const exec = (sql: string) => {
        if (/^(BEGIN|COMMIT|INSERT|PRAGMA synchronous)/m.test(sql)) said.push(sql);
        return driver.exec(sql);
      };
      return { ...driver, exec };
    });
    said.length = 0;
    await store.commitSoon((tx) => tx.run(fact, 'a', '1'));
    await t.throwsAsync(store.commitSoon((tx) => tx.run(fact, 'a', 'again')));
    await store.commit((tx) => tx.run(fact, 'b', '2'));
    const company = store.commitSoon((tx) => tx.run(fact, 'c', '3'));
    await store.commit((tx) => tx.run(fact, 'd', '4'));
    await company;
    const next = store.commitSoon((tx) => tx.run(fact, 'e', '5'));
    await store.commitUnflushed((tx) => tx.run(fact, 'f', '6'));
    await next;
    const levels = said.map((sql) => /^PRAGMA synchronous = (\w+)/.exec(sql)?.[1]);
    t.is(levels.at(-1), 'NORMAL', 'without a flush, and with its company');
    t.regex(said.at(-1)!, /'e'[\s\S]*'f'/);
    t.is(levels.at(-2), 'FULL', 'what rides on a durable commit is durable');
    t.is(levels.at(-3), 'FULL');
    t.true(levels.slice(0, -3).every((level) => level === 'NORMAL'));
    t.true(said.every((sql) => sql.indexOf('PRAGMA') < sql.indexOf('BEGIN')));
  });

  test(`${name}: any text, number or bytes come back as they went in`, async (t) => {
    const store = await opened(t, open);
    await store.commit((tx) => tx.run('CREATE TABLE any (value ANY) STRICT'));
    const value = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: fc.constantFrom("'", '"', '?', '\0', ';', '-', '\n', 'a') }),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
      fc.uint8Array({ maxLength: 40 }),
      fc.constant(null),
    );
    await fc.assert(
      fc.asyncProperty(value, async (wanted) => {
        await store.commit((tx) => {
          tx.run('DELETE FROM any');
          tx.run('INSERT INTO any VALUES (?)', wanted);
        });
        const found = (await store.get('SELECT value FROM any'))?.value;
        if (wanted instanceof Uint8Array) t.deepEqual([...(found as Uint8Array)], [...wanted]);
        else t.is(found, wanted);
      }),
      { numRuns: 150, examples: [[2 ** 53], [-(2 ** 63)], [1e21], [2 ** 53 - 1]] },
    );
  });

  test(`${name}: durability settings are in force and the schema is marked as ours`, async (t) => {
    const store = await opened(t, open);
    t.is((await store.get('PRAGMA journal_mode'))?.journal_mode, 'wal');
    t.is((await store.get('PRAGMA synchronous'))?.synchronous, 2);
    t.is((await store.get('PRAGMA application_id'))?.application_id, applicationId);
    t.is((await store.get('PRAGMA user_version'))?.user_version, migrations.at(-1)?.version);
  });

  test(`${name}: a newer schema is refused and left untouched`, async (t) => {
    const file = place(t);
    const driver = await open(file);
    await driver.exec(`CREATE TABLE later (x);
      PRAGMA application_id = ${applicationId}; PRAGMA user_version = 999`);
    await driver.close();
    const before = readFileSync(file);
    const error = await t.throwsAsync(openStore(file, { open }));
    t.is((error as unknown as { code: string }).code, 'format-too-new');
    t.true(readFileSync(file).equals(before));
  });

  test(`${name}: another program's database is refused`, async (t) => {
    const file = place(t);
    const driver = await open(file);
    await driver.exec('CREATE TABLE theirs (x)');
    await driver.close();
    const error = await t.throwsAsync(openStore(file, { open }));
    t.is((error as unknown as { code: string }).code, 'state-damaged');
  });

  test(`${name}: a damaged file is said to be damaged`, async (t) => {
    const file = place(t);
    writeFileSync(file, Buffer.alloc(8192, 'garbage'));
    const error = await t.throwsAsync(openStore(file, { open }));
    t.is((error as unknown as { code: string }).code, 'state-damaged');
    const whole = place(t);
    const store = await openStore(whole, { open });
    await store.commit((tx) => {
      for (let n = 0; n < 200; n++) tx.run(fact, `${n}`, 'x'.repeat(99));
    });
    await store.close();
    const bytes = readFileSync(whole);
    bytes.fill(0xa5, 8192, 40_000);
    writeFileSync(whole, bytes);
    const second = await t.throwsAsync(openStore(whole, { open }));
    t.is((second as unknown as { code: string }).code, 'state-damaged');
  });

  test(`${name}: a migration that fails leaves the version before it`, async (t) => {
    const driver = await open(place(t));
    t.teardown(() => driver.close());
    await configure(driver);
    const steps = [
      { version: 1, sql: 'CREATE TABLE one (x);' },
      { version: 2, sql: 'CREATE TABLE two (x); CREATE TABLE one (x);' },
    ];
    await t.throwsAsync(migrate(driver, steps));
    t.is((await driver.all('PRAGMA user_version', []))[0]?.user_version, 0);
    t.deepEqual(await driver.all('SELECT name FROM sqlite_schema', []), [], 'not even step 1');
    await migrate(driver, [steps[0]!, { version: 2, sql: 'CREATE TABLE two (x);' }]);
    t.is((await driver.all('PRAGMA user_version', []))[0]?.user_version, 2);
  });
}
