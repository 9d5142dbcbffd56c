import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openDriver, openStore } from '../../../daemon/store/database.ts';
import { type Migration, migrate, migrations } from '../../../daemon/store/migrate.ts';

// An upgrade of the schema: from every version there was, and when it fails.

const newest = migrations.at(-1)?.version ?? 0;
const next: Migration = { version: newest + 1, sql: 'CREATE TABLE later (a TEXT) STRICT;' };
const failing: Migration = {
  version: newest + 2,
  sql: "CREATE TABLE half (a TEXT) STRICT; INSERT INTO no_such_table VALUES ('x');",
};

/** What each version could hold first. */
const rows: Record<number, string> = {
  1: `INSERT INTO changes (id, kind, summary, owner, plan, status, created, ended)
        VALUES (7, 'k', 's', 0, '{}', 'done', 1, 2);
      INSERT INTO events VALUES (7, 1, NULL, 'create', 1, NULL);
      INSERT INTO facts VALUES ('identity', 'abc');`,
  2: `INSERT INTO layers (digest, kind, bytes, made, created) VALUES ('sha256:1', 'base', 5, 'created', 1);
      INSERT INTO bases (name, digest, owner, created) VALUES ('b', 'sha256:1', 0, 1);
      INSERT INTO keys VALUES ('k', 'p', '', 'machine', 1, 1);`,
  3: `INSERT INTO slots (name, owner, created, current) VALUES ('work', 5, 1, 1);
      INSERT INTO generations (slot, number, result, created) VALUES ('work', 1, 'good', 1);
      INSERT INTO uppers (id, slot, stack, state, created) VALUES ('u', 'work', 's', 'active', 1);`,
  4: `INSERT INTO partition_history VALUES (10000, 3, 30000, '{}');`,
  5: `INSERT INTO fast (name, id, owner, medium, bytes, state, boot, created)
        VALUES ('f', 'u', 5, 'ram', 4096, 'ready', 'b', 1);`,
  6: `INSERT INTO witnesses (file, digest, witness) VALUES ('layers/x.erofs', 'sha256:1', '[]');`,
  7: `INSERT INTO enclaves (name, id, owner, bytes, created) VALUES ('vault', 'i', 5, 9, 1);`,
  8: `UPDATE enclaves SET opened = 1, boot = 'b', before_sleep = 1;`,
  9: `INSERT INTO application_facts (owner, app, fact, value, date) VALUES (5, 'paint', 'memory', '7', 1);`,
  10: `INSERT INTO served (name, owner, app, boot, detail) VALUES ('app-5-1', 5, 'paint', 'b', '{}');`,
  11: `INSERT INTO application_needs (owner, app, runs, date, detail) VALUES (5, 'paint', 1, 1, '[]');`,
};

function place(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'personad-migrate-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'personad.db');
}

/** A database as the program of schema `version` left it. */
async function databaseOf(t: ExecutionContext, version: number): Promise<string> {
  const file = place(t);
  const driver = await openDriver(file);
  await driver.exec('PRAGMA journal_mode = WAL');
  await migrate(driver, migrations.slice(0, version));
  for (let step = 1; step <= version; step += 1) await driver.exec(rows[step] ?? '');
  await driver.close();
  return file;
}

/** Every row of every table. */
async function everything(file: string): Promise<Record<string, unknown>> {
  const driver = await openDriver(file);
  const tables = await driver.all(
    "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
    [],
  );
  const found: Record<string, unknown> = { version: await driver.all('PRAGMA user_version', []) };
  for (const { name } of tables)
    found[String(name)] = await driver.all(`SELECT * FROM ${name}`, []);
  await driver.close();
  return found;
}

type Rows = Record<string, unknown>[];

/** Of each row only what it had before; a column that has come since is empty. */
function withoutNewColumns(after: unknown, before: unknown): Rows {
  return (after as Rows).map((row, at) => {
    const known = (before as Rows)[at] ?? {};
    return Object.fromEntries(
      Object.entries(row).filter(([column, value]) => column in known || value !== null),
    );
  });
}

const copies = (file: string) =>
  readdirSync(join(file, '..')).filter((name) => name.includes('.before-'));

test('every schema there was has rows in this test', (t) => {
  t.deepEqual(
    Object.keys(rows).map(Number),
    migrations.map(({ version }) => version),
  );
});

for (let version = 1; version < newest; version += 1)
  test(`schema ${version} becomes ${newest} with all its rows, and a copy of it stays`, async (t) => {
    const file = await databaseOf(t, version);
    const before = await everything(file);
    const store = await openStore(file, { presized: true });
    await store.close();
    const after = await everything(file);
    for (const [table, content] of Object.entries(before))
      if (table !== 'version')
        t.deepEqual(withoutNewColumns(after[table], content), content, table);
    t.deepEqual(after.version, [{ user_version: newest }]);
    t.deepEqual(copies(file), [`personad.db.before-${newest}`]);
    t.is(statSync(`${file}.before-${newest}`).mode & 0o077, 0);
    t.deepEqual(await everything(`${file}.before-${newest}`), before);
    await (await openStore(file)).close();
    t.deepEqual(copies(file).length, 1, 'only an upgrade makes a copy');
  });

test('copies of few upgrades are kept', async (t) => {
  const file = await databaseOf(t, 1);
  for (let version = 2; version <= newest + 1; version += 1)
    await (await openStore(file, { steps: [...migrations, next].slice(0, version) })).close();
  t.deepEqual(
    copies(file).sort(),
    [newest, newest + 1].map((n) => `personad.db.before-${n}`).sort(),
  );
});

test('an upgrade that fails leaves the database to the version before', async (t) => {
  const file = await databaseOf(t, newest);
  const before = await everything(file);
  const steps = [...migrations, next, failing];
  await t.throwsAsync(openStore(file, { steps }), { message: /no_such_table/ });
  t.deepEqual(await everything(file), before, 'not even the first of the two steps was done');
  const store = await openStore(file);
  t.is((await store.get('SELECT current FROM slots'))?.current, 1);
  await store.close();
});

test('an upgrade without room for its copy changes nothing', async (t) => {
  const file = await databaseOf(t, newest);
  const before = await everything(file);
  const open = async (path: string) => {
    const driver = await openDriver(path);
    return {
      ...driver,
      exec: (sql: string) =>
        sql.startsWith('VACUUM INTO')
          ? Promise.reject(Object.assign(new Error('disk is full'), { code: 'SQLITE_FULL' }))
          : driver.exec(sql),
    };
  };
  await t.throwsAsync(openStore(file, { open, steps: [...migrations, next] }), {
    message: /disk is full/,
  });
  t.deepEqual(await everything(file), before);
  t.deepEqual(copies(file), []);
});

test('an older program refuses a newer database and changes no byte', async (t) => {
  const file = await databaseOf(t, newest);
  await (await openStore(file, { steps: [...migrations, next] })).close();
  const bytes = readFileSync(file);
  await t.throwsAsync(openStore(file), { code: 'format-too-new' });
  t.true(readFileSync(file).equals(bytes));
  t.deepEqual(
    readdirSync(join(file, '..')).filter((name) => /-(wal|shm)$/.test(name)),
    [],
  );
});
