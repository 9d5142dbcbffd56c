import type { Migration } from '../migrate.ts';

/**
 * How memory and disks were used: rings of a fixed number of places, each row the mean of one time of `step`
 * milliseconds. A row replaces the one that is a round older.
 */
export const partitionsMigration: Migration = {
  version: 4,
  sql: `
    CREATE TABLE partition_history (
      step INTEGER NOT NULL,
      place INTEGER NOT NULL,
      at INTEGER NOT NULL,
      detail TEXT NOT NULL,
      PRIMARY KEY (step, place)
    ) STRICT, WITHOUT ROWID;
  `,
};
