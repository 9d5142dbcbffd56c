import type { Migration } from '../migrate.ts';

/**
 * The journal: changes, what happened to them, and single facts of the daemon itself. No index beside
 * the keys: each would be one more page in every commit that a swap waits for.
 */
export const changesMigration: Migration = {
  version: 1,
  sql: `
    CREATE TABLE changes (
      id INTEGER PRIMARY KEY,
      kind TEXT NOT NULL,
      summary TEXT NOT NULL,
      owner INTEGER NOT NULL,
      plan TEXT NOT NULL,
      status TEXT NOT NULL,
      created INTEGER NOT NULL,
      ended INTEGER,
      error TEXT,
      result TEXT
    ) STRICT;
    CREATE TABLE events (
      change INTEGER NOT NULL REFERENCES changes (id) ON DELETE CASCADE,
      seq INTEGER NOT NULL,
      task INTEGER,
      event TEXT NOT NULL,
      at INTEGER NOT NULL,
      detail TEXT,
      PRIMARY KEY (change, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE facts (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
};
