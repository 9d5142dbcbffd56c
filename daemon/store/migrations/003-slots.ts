import type { Migration } from '../migrate.ts';

/**
 * Slots, their generations and uppers. A generation row is never changed but for `result` and `ended`.
 * `stack` of an upper is the digest of the list of lowers it was made on: it never goes on another.
 */
export const slotsMigration: Migration = {
  version: 3,
  sql: `
    CREATE TABLE slots (
      name TEXT PRIMARY KEY,
      owner INTEGER NOT NULL,
      ephemeral INTEGER NOT NULL DEFAULT 0,
      current INTEGER,
      created INTEGER NOT NULL,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE generations (
      slot TEXT NOT NULL,
      number INTEGER NOT NULL,
      persona TEXT,
      persona_digest TEXT,
      base_digest TEXT,
      upper TEXT,
      result TEXT NOT NULL CHECK (result IN ('trial', 'good', 'failed')),
      created INTEGER NOT NULL,
      ended INTEGER,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}',
      PRIMARY KEY (slot, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE uppers (
      id TEXT PRIMARY KEY,
      slot TEXT NOT NULL,
      stack TEXT NOT NULL,
      below TEXT NOT NULL DEFAULT '[]',
      state TEXT NOT NULL CHECK (state IN ('ready', 'active', 'draining', 'sealed', 'gone')),
      boot TEXT,
      created INTEGER NOT NULL,
      ended INTEGER,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX uppers_of_slot ON uppers (slot, state);
  `,
};
