import type { Migration } from '../migrate.ts';

/**
 * Layers, bases, personas, keys. `detail` is JSON of the room's own: what is asked for by column is a
 * column, the rest is free to grow. Digests are `sha256:HEX`; times milliseconds since 1970.
 */
export const personasMigration: Migration = {
  version: 2,
  sql: `
    CREATE TABLE layers (
      digest TEXT PRIMARY KEY,
      kind TEXT NOT NULL CHECK (kind IN ('base', 'diff', 'apps', 'seed', 'config')),
      input TEXT,
      bytes INTEGER NOT NULL,
      made TEXT NOT NULL CHECK (made IN ('created', 'rebuilt', 'captured')),
      created INTEGER NOT NULL,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX layers_by_input ON layers (kind, input);
    CREATE TABLE bases (
      name TEXT PRIMARY KEY,
      digest TEXT NOT NULL REFERENCES layers (digest),
      owner INTEGER NOT NULL,
      created INTEGER NOT NULL,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE personas (
      name TEXT PRIMARY KEY,
      digest TEXT NOT NULL,
      origin_digest TEXT,
      base_digest TEXT NOT NULL,
      owner INTEGER NOT NULL,
      created INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      signed_by TEXT,
      change INTEGER,
      detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE persona_layers (
      persona TEXT NOT NULL REFERENCES personas (name) ON DELETE CASCADE,
      position INTEGER NOT NULL,
      kind TEXT NOT NULL,
      digest TEXT NOT NULL,
      detail TEXT NOT NULL DEFAULT '{}',
      PRIMARY KEY (persona, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE keys (
      id TEXT PRIMARY KEY,
      public_key TEXT NOT NULL,
      comment TEXT NOT NULL DEFAULT '',
      state TEXT NOT NULL CHECK (state IN ('machine', 'trusted', 'revoked')),
      created INTEGER NOT NULL,
      changed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
  `,
};
