import type { Migration } from '../migrate.ts';

/** What was measured of applications, by the user who ran them: the last runs of each. */
export const needsMigration: Migration = {
  version: 11,
  sql: `
    CREATE TABLE application_needs (
      owner INTEGER NOT NULL,
      app TEXT NOT NULL,
      runs INTEGER NOT NULL,
      date INTEGER NOT NULL,
      detail TEXT NOT NULL,
      PRIMARY KEY (owner, app)
    ) STRICT, WITHOUT ROWID;
  `,
};
