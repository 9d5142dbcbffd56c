import type { Migration } from '../migrate.ts';

/**
 * Enclaves: what their volumes are, and which are open. No row holds a key, not even a wrapped one: pages of a database are
 * copied, and a key must be destroyed where it lies.
 */
export const enclavesMigration: Migration = {
  version: 7,
  sql: `
    CREATE TABLE enclaves (
      name TEXT PRIMARY KEY,
      id TEXT NOT NULL,
      owner INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      opened INTEGER,
      boot TEXT,
      idle INTEGER,
      created INTEGER NOT NULL,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
  `,
};
