import { PersonaError } from '../../ipc/errors.ts';
import { changesMigration } from './migrations/001-changes.ts';
import { personasMigration } from './migrations/002-personas.ts';
import { slotsMigration } from './migrations/003-slots.ts';
import { partitionsMigration } from './migrations/004-partitions.ts';
import { fastMigration } from './migrations/005-fast.ts';
import { witnessesMigration } from './migrations/006-witnesses.ts';
import { enclavesMigration } from './migrations/007-enclaves.ts';
import { enclaveSleepMigration } from './migrations/008-enclave-sleep.ts';
import { applicationsMigration } from './migrations/009-applications.ts';
import { servedMigration } from './migrations/010-served.ts';
import { needsMigration } from './migrations/011-needs.ts';
import type { Driver } from './store.ts';

/** One step of the schema. Never edited once released. */
export interface Migration {
  version: number;
  sql: string;
}

/** All steps, in order. */
export const migrations: readonly Migration[] = [
  changesMigration,
  personasMigration,
  slotsMigration,
  partitionsMigration,
  fastMigration,
  witnessesMigration,
  enclavesMigration,
  enclaveSleepMigration,
  applicationsMigration,
  servedMigration,
  needsMigration,
];

/** Marks the file as ours: `pers` in ASCII. */
export const applicationId = 0x70657273;

async function pragma(driver: Driver, name: string): Promise<number> {
  const [row] = await driver.all(`PRAGMA ${name}`, []);
  return Number(row?.[name] ?? 0);
}

/**
 * Refuses, before anything is written, a database of another program or of a newer version of this one.
 * Returns the version of the schema, 0 for an empty file.
 */
export async function checkOwner(
  driver: Driver,
  steps: readonly Migration[] = migrations,
): Promise<number> {
  const owner = await pragma(driver, 'application_id');
  const version = await pragma(driver, 'user_version');
  const empty = owner === 0 && version === 0 && !(await hasTables(driver));
  if (owner !== applicationId && !empty)
    throw new PersonaError('state-damaged', 'the database belongs to another program');
  const newest = steps.at(-1)?.version ?? 0;
  if (version > newest)
    throw new PersonaError('format-too-new', { found: version, known: newest, what: 'database' });
  return version;
}

/**
 * Brings the schema up to the newest version: all steps and the version number in one transaction, so that a failure
 * leaves the database to the version that wrote it.
 */
export async function migrate(
  driver: Driver,
  steps: readonly Migration[] = migrations,
): Promise<void> {
  const version = await checkOwner(driver, steps);
  const missing = steps.filter((one) => one.version > version);
  const newest = missing.at(-1)?.version;
  if (newest === undefined) return;
  const sql = missing.map((one) => one.sql).join('\n');
  const marks = `PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${newest};`;
  await driver.exec(`BEGIN IMMEDIATE; ${sql} ${marks} COMMIT;`).catch(async (error) => {
    await driver.exec('ROLLBACK').catch(() => undefined);
    throw error;
  });
}

async function hasTables(driver: Driver): Promise<boolean> {
  const [row] = await driver.all('SELECT count(*) AS n FROM sqlite_schema', []);
  return Number(row?.n ?? 0) > 0;
}
