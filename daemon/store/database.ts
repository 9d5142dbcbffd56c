import { pathToFileURL } from 'node:url';
import sqlite3 from 'sqlite3';
import { PersonaError } from '../../ipc/errors.ts';
import { copyBeforeMigration } from './before-migration.ts';
import { moveLog } from './log-mover.ts';
import { checkOwner, type Migration, migrate, migrations } from './migrate.ts';
import { type Driver, type Row, type Store, storeOver } from './store.ts';

/** How long a statement waits for another process's lock; there should be none: the tree is locked. */
const busyTimeoutMs = 5_000;

/** Checkpoints run in idle moments, not inside a swap's commit; this bound (32 MiB) is for a busy hour. */
const walPagesMax = 8_000;

/**
 * Blocks the write-ahead log owns from the start. A commit that overwrites needs no new blocks from the
 * file system: measured 0.16 ms against 0.25, and more under load.
 */
const walBytesMin = 4 * 1024 * 1024;

/**
 * Names a database so that SQLite keeps the index of the log in the memory of this process, not in a mapped file beside it
 * (sqlite.org/vfs.html, `unix-excl`). Where writing takes new blocks, as on btrfs, a full disk ends whoever writes to a mapped
 * file by SIGBUS; measured: the daemon, at its first commits there. No other process can open the database meanwhile.
 */
export const exclusive = (file: string): string => `${pathToFileURL(file).href}?vfs=unix-excl`;

const { OPEN_READWRITE, OPEN_CREATE, OPEN_FULLMUTEX, OPEN_URI } = sqlite3;
const openFlags = OPEN_READWRITE | OPEN_CREATE | OPEN_FULLMUTEX | OPEN_URI;

/**
 * The only door to the sqlite3 library. Every call has its callback: without one, an error becomes an
 * event that ends the process. Prepared statements are not used: inside `serialize()` they were run out
 * of order, and one text per transaction is quicker than awaited statements.
 */
export async function openDriver(file: string): Promise<Driver> {
  const database = await new Promise<sqlite3.Database>((resolve, reject) => {
    const opened: sqlite3.Database = new sqlite3.Database(exclusive(file), openFlags, (error) =>
      error === null ? resolve(opened) : reject(error),
    );
  });
  database.on('error', () => undefined);
  return {
    exec: (sql) =>
      new Promise((resolve, reject) => {
        database.exec(sql, (error) => (error === null ? resolve() : reject(error)));
      }),
    all: (sql, values) =>
      new Promise((resolve, reject) => {
        database.all<Row>(sql, values, (error, rows) =>
          error === null ? resolve(rows) : reject(error),
        );
      }),
    close: () =>
      new Promise((resolve, reject) => {
        database.close((error) => (error === null ? resolve() : reject(error)));
      }),
  };
}

/** Sets what durability rests on and reads it back: a pragma that was not taken is not an error by itself. */
export async function configure(driver: Driver): Promise<void> {
  await driver.exec(`
    PRAGMA busy_timeout = ${busyTimeoutMs};
    PRAGMA foreign_keys = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA wal_autocheckpoint = ${walPagesMax};
  `);
  await expectPragma(driver, 'journal_mode = WAL', 'journal_mode', 'wal');
  await driver.exec('PRAGMA synchronous = FULL');
  await expectPragma(driver, 'synchronous', 'synchronous', 2);
}

async function expectPragma(driver: Driver, ask: string, name: string, wanted: unknown) {
  const [row] = await driver.all(`PRAGMA ${ask}`, []);
  if (row?.[name] !== wanted)
    throw new PersonaError(
      'state-damaged',
      `the database has ${name} ${String(row?.[name])}, not ${String(wanted)}`,
    );
}

/** Reads every page and index once; throws `state-damaged` when SQLite finds anything wrong. */
export async function checkIntegrity(driver: Driver): Promise<void> {
  const rows = await driver.all('PRAGMA integrity_check(10)', []).catch((cause: unknown) => {
    throw damaged(cause);
  });
  const faults = rows.map((row) => String(row.integrity_check)).filter((line) => line !== 'ok');
  if (faults.length > 0)
    throw new PersonaError('state-damaged', `the database is damaged: ${faults[0]}`);
}

/** Writes and empties the log once, so that it keeps its blocks. */
async function presize(driver: Driver): Promise<void> {
  await driver.exec(`
    BEGIN IMMEDIATE; CREATE TABLE presize (x BLOB); INSERT INTO presize VALUES (zeroblob(${walBytesMin}));
    COMMIT; DROP TABLE presize; PRAGMA wal_checkpoint(RESTART);`);
}

/** How a database is opened. */
export interface OpenOptions {
  /** Give the log its blocks at once: for a daemon, whose commits are waited for. */
  presized?: boolean;
  open?: (file: string) => Promise<Driver>;
  /** The steps of the schema; tests hand in those of another version. */
  steps?: readonly Migration[];
  /** Looks at an existing database before anything is written to it; throws to leave it untouched. */
  verify?: (read: Driver['all']) => Promise<void>;
}

/** Opens the database of the daemon: checked, configured and brought up to the newest schema. */
export async function openStore(
  file: string,
  { open = openDriver, verify, presized = false, steps = migrations }: OpenOptions = {},
): Promise<Store> {
  const driver = await open(file);
  try {
    await checkIntegrity(driver);
    const version = await checkOwner(driver, steps);
    if (version > 0) await verify?.(driver.all);
    await configure(driver);
    const newest = steps.at(-1)?.version ?? 0;
    if (version > 0 && version < newest) await copyBeforeMigration(driver, file, newest);
    await migrate(driver, steps);
    // Without it commits are slower, and a disk that is full now must not stop the start.
    if (presized) await presize(driver).catch(() => driver.exec('ROLLBACK').catch(() => undefined));
  } catch (error) {
    await driver.close().catch(() => undefined);
    throw isDamage(error) ? damaged(error) : error;
  }
  const mover = await open(file).catch(async (error: unknown) => {
    await driver.close().catch(() => undefined);
    throw error;
  });
  return storeOver(driver, moveLog(mover));
}

function isDamage(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT';
}

function damaged(cause: unknown): PersonaError {
  if (cause instanceof PersonaError) return cause;
  return new PersonaError('state-damaged', 'the database cannot be read', { cause });
}
