import type { Migration } from '../migrate.ts';

/**
 * What each file of a persona or layer was when it was last looked at, by its path in the state tree: `hashed` and `boot` say when
 * and in which boot all of it was read and right, `problem` and `found` what is wrong with it and since when that is known.
 */
export const witnessesMigration: Migration = {
  version: 6,
  sql: `
    CREATE TABLE witnesses (
      file TEXT PRIMARY KEY,
      digest TEXT NOT NULL,
      witness TEXT,
      hashed INTEGER,
      boot TEXT,
      problem TEXT,
      found INTEGER
    ) STRICT, WITHOUT ROWID;
  `,
};
