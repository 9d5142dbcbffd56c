import type { Migration } from '../migrate.ts';

/** Applications whose folders lie in memory, until what they wrote there is in the folders on the disk. */
export const servedMigration: Migration = {
  version: 10,
  sql: `
    CREATE TABLE served (
      name TEXT PRIMARY KEY,
      owner INTEGER NOT NULL,
      app TEXT NOT NULL,
      boot TEXT NOT NULL,
      detail TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
};
