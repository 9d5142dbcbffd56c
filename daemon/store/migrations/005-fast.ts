import type { Migration } from '../migrate.ts';

/**
 * Fast partitions. `boot` is the one in which what it holds was begun: a row of another boot names one that is to be made
 * again, empty. One that is `ending` still counts: its memory is not free before its file system has ended.
 */
export const fastMigration: Migration = {
  version: 5,
  sql: `
    CREATE TABLE fast (
      name TEXT PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      owner INTEGER NOT NULL,
      medium TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('ready', 'ending')),
      boot TEXT NOT NULL,
      created INTEGER NOT NULL,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
  `,
};
