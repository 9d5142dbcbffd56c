import type { Migration } from '../migrate.ts';

/** Whether an open enclave is closed before the machine sleeps. */
export const enclaveSleepMigration: Migration = {
  version: 8,
  sql: 'ALTER TABLE enclaves ADD COLUMN before_sleep INTEGER;',
};
