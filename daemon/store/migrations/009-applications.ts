import type { Migration } from '../migrate.ts';

/** What people have said of applications by command. `owner` is a uid, or -1 for what root has said for everybody. */
export const applicationsMigration: Migration = {
  version: 9,
  sql: `
    CREATE TABLE application_facts (
      owner INTEGER NOT NULL,
      app TEXT NOT NULL,
      fact TEXT NOT NULL,
      value TEXT NOT NULL,
      date INTEGER NOT NULL,
      PRIMARY KEY (owner, app, fact)
    ) STRICT, WITHOUT ROWID;
  `,
};
