import type { LogMover } from './log-mover.ts';
import { fill, literal, type Row, type SqlValue } from './sql.ts';

export type { Row, SqlValue } from './sql.ts';

/** Collects the statements of one transaction; nothing is sent before the collector returns. */
export interface Tx {
  /** Adds one statement; each `?` takes the next value. */
  run(sql: string, ...values: SqlValue[]): void;
}

/** The database as a library gives it: one connection, no ordering promised. */
export interface Driver {
  /** Runs several statements in one round trip. */
  exec(sql: string): Promise<void>;
  /** All rows of one query. */
  all(sql: string, values: readonly SqlValue[]): Promise<Row[]>;
  close(): Promise<void>;
}

/**
 * All rows of the daemon. Every call takes its turn in one queue, so that no two transactions and no
 * read within a transaction ever interleave on the one connection.
 */
export interface Store {
  /** All rows of a query. */
  all<R extends Row = Row>(sql: string, ...values: SqlValue[]): Promise<R[]>;
  /** The first row of a query, or undefined. */
  get<R extends Row = Row>(sql: string, ...values: SqlValue[]): Promise<R | undefined>;
  /**
   * All rows of a query without values, kept until the next transaction: for what many ask again and again. They are
   * everybody's: nobody alters them.
   */
  kept<R extends Row = Row>(sql: string): Promise<readonly Readonly<R>[]>;
  /** Commits what `collect` adds as one transaction. Resolves when it is on the disk. */
  commit(collect: (tx: Tx) => void): Promise<void>;
  /** The same, but resolves when it is written: it is on the disk with the next commit. */
  commitUnflushed(collect: (tx: Tx) => void): Promise<void>;
  /**
   * Adds statements to the next commit, or writes them when the store falls idle: for facts that
   * recovery finds again. `collect` is called then. Resolves when they are written; they are on the disk with the next
   * commit. Order with other commits is kept.
   */
  commitSoon(collect: (tx: Tx) => void): Promise<void>;
  /** Writes a copy of all rows, as they are at one moment, to the new file at `path`. Not durable by itself. */
  snapshot(path: string): Promise<void>;
  /** Gives up the memory of pages that were read, up to 2 MiB; they are read again when they are needed. */
  shrink(): Promise<void>;
  /** Writes what still waits, then closes. Further calls are refused. */
  close(): Promise<void>;
}

/** How long a soon-commit waits for company before it is written alone. */
export const soonDelayMs = 20;

interface Waiting {
  collect(tx: Tx): void;
  resolve(): void;
  reject(error: unknown): void;
}

interface Pending extends Waiting {
  sql: string;
}

/** A store over `driver`; `mover` is told when the log may be moved into the database. */
export function storeOver(driver: Driver, mover: LogMover): Store {
  let tail: Promise<unknown> = Promise.resolve();
  let soon: Waiting[] = [];
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function turn<T>(work: () => Promise<T>): Promise<T> {
    if (closed) return Promise.reject(new Error('cannot use the store: it is closed'));
    const mine = tail.then(work);
    tail = mine.catch(() => undefined);
    return mine;
  }

  function takeSoon(): Pending[] {
    if (timer !== undefined) clearTimeout(timer);
    timer = undefined;
    const taken = soon;
    soon = [];
    return taken.flatMap(pendingOf);
  }

  /** One transaction of the waiting statements and `sql`; if it fails, each part is tried by itself. */
  async function write(waiting: Pending[], sql: string, durable: boolean): Promise<void> {
    mover.committed();
    const company = waiting.map((one) => one.sql).join('');
    try {
      await transaction(driver, company + sql, durable);
    } catch (error) {
      if (waiting.length === 0) throw error;
      for (const one of waiting)
        await transaction(driver, one.sql, false).then(one.resolve, one.reject);
      if (sql !== '') await transaction(driver, sql, durable);
      return;
    }
    for (const one of waiting) one.resolve();
  }

  function writeInTurn(waiting: Pending[], sql: string, durable: boolean): Promise<void> {
    // Whoever asks from now on has a turn behind this one.
    kept.forget();
    return turn(() => write(waiting, sql, durable));
  }

  const flush = (): Promise<void> => {
    const waiting = takeSoon();
    return waiting.length === 0 ? Promise.resolve() : writeInTurn(waiting, '', false);
  };

  async function commit(collect: (tx: Tx) => void, durable: boolean): Promise<void> {
    // In the order in which they were asked for: numbers are given out as they are collected.
    const waiting = takeSoon();
    const sql = collected(collect);
    await writeInTurn(waiting, sql, durable);
  }

  /** Nothing was committed for a while. */
  function inPause(): void {
    flush().catch(() => undefined);
    mover.paused();
  }

  /** What waits is written before anything is read. */
  function beforeRead(): void {
    if (soon.length > 0) flush().catch(() => undefined);
  }

  const read = <R extends Row>(sql: string, values: SqlValue[]): Promise<R[]> => {
    beforeRead();
    return turn(() => driver.all(sql, values) as Promise<R[]>);
  };

  const kept = keptRows((sql) => read(sql, []));

  return {
    all: (sql, ...values) => read(sql, values),
    kept<R extends Row>(sql: string) {
      beforeRead();
      return kept.rows(sql) as Promise<R[]>;
    },
    get: async <R extends Row>(sql: string, ...values: SqlValue[]) =>
      (await read<R>(sql, values))[0],
    commit: (collect) => commit(collect, true),
    commitUnflushed: (collect) => commit(collect, false),
    commitSoon(collect) {
      if (closed) return Promise.reject(new Error('cannot use the store: it is closed'));
      timer ??= setTimeout(inPause, soonDelayMs);
      return new Promise((resolve, reject) => soon.push({ collect, resolve, reject }));
    },
    async snapshot(path) {
      flush().catch(() => undefined);
      await turn(() => driver.exec(`VACUUM INTO ${literal(path)}`));
    },
    shrink: () => turn(() => driver.exec('PRAGMA shrink_memory')),
    async close() {
      if (closed) return;
      const last = flush().catch(() => undefined);
      const done = turn(() => driver.close());
      closed = true;
      await last;
      await mover.close();
      await done;
    },
  };
}

/** Answers of queries, until they are forgotten. */
function keptRows(read: (sql: string) => Promise<Row[]>) {
  const known = new Map<string, Promise<Row[]>>();
  return {
    rows(sql: string): Promise<Row[]> {
      const rows = known.get(sql) ?? read(sql);
      known.set(sql, rows);
      // The next one who asks tries again.
      rows.catch(() => known.delete(sql));
      return rows;
    },
    forget: () => known.clear(),
  };
}

/** Its statements; none, and it hears so, when they cannot be collected. */
function pendingOf(one: Waiting): Pending[] {
  try {
    return [{ ...one, sql: collected(one.collect) }];
  } catch (error) {
    one.reject(error);
    return [];
  }
}

function collected(collect: (tx: Tx) => void): string {
  let sql = '';
  collect({
    run(statement, ...values) {
      sql += `${fill(statement, values)};\n`;
    },
  });
  return sql;
}

/** Said before each transaction, so that none inherits what another one was content with. */
const durably = 'PRAGMA synchronous = FULL;';
/** The write-ahead log stays in order, and is flushed by the next durable transaction. */
const loosely = 'PRAGMA synchronous = NORMAL;';

async function transaction(driver: Driver, sql: string, durable: boolean): Promise<void> {
  try {
    await driver.exec(`${durable ? durably : loosely}\nBEGIN IMMEDIATE;\n${sql}COMMIT;`);
  } catch (error) {
    // Fails when the transaction never began or SQLite rolled it back itself: both are fine.
    await driver.exec('ROLLBACK;').catch(() => undefined);
    throw error;
  }
}
