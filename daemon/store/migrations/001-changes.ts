import type { Migration } from '../migrate.ts';

/** The journal: changes, what happened to them, and single facts of the daemon itself. */
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
    CREATE INDEX changes_open ON changes (id) WHERE ended IS NULL;
    CREATE TABLE events (
      seq INTEGER PRIMARY KEY,
      change INTEGER NOT NULL REFERENCES changes (id) ON DELETE CASCADE,
      task INTEGER,
      event TEXT NOT NULL,
      at INTEGER NOT NULL,
      detail TEXT
    ) STRICT;
    CREATE INDEX events_of_change ON events (change, seq);
    CREATE TABLE facts (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
};
