import { DatabaseSync } from 'node:sqlite';
import { exclusive } from '../../../daemon/store/database.ts';
import type { Driver, Row } from '../../../daemon/store/store.ts';

/** The way out, should the sqlite3 package fail us: the same store over Node's own SQLite. */
export async function openNodeDriver(file: string): Promise<Driver> {
  const database = new DatabaseSync(new URL(exclusive(file)));
  return {
    exec: async (sql) => database.exec(sql),
    all: async (sql, values) =>
      database
        .prepare(sql)
        .all(...values)
        .map((row) => ({ ...row }) as Row),
    close: async () => database.close(),
  };
}
