/**
 * Loaded before the daemon (`node --import`): makes one way of making things durable do nothing, and answer as if it
 * had. `BROKEN_SYNC` names it: `file` (fsync of a file), `folder` (fsync of a folder), `file-system` (syncfs),
 * `database` (everything SQLite syncs), or `from:CHAIN` for those fsyncs whose callers, innermost first and joined by
 * ` < `, begin with CHAIN.
 */
import { type FileHandle, open } from 'node:fs/promises';
import koffi from 'koffi';
import sqlite3 from 'sqlite3';

const broken = process.env.BROKEN_SYNC ?? '';

/** The daemon's functions that led here, innermost first, through `await` too. */
function callers(): string {
  const lines = (new Error().stack ?? '').split('\n').filter((line) => line.includes('/daemon/'));
  const names = lines.flatMap((line) => /at (?:async |new )*(\S+) \(/.exec(line)?.[1] ?? []);
  return names.map((name) => name.replace(/^(Object|async)\./, '')).join(' < ');
}

async function breakHandles(isBroken: (handle: FileHandle) => Promise<boolean>): Promise<void> {
  const handle = await open('/dev/null');
  const kind = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const sync = kind.sync;
  kind.sync = async function (this: FileHandle) {
    if (!(await isBroken(this))) await sync.call(this);
  };
}

function breakSyncfs(): void {
  const load = koffi.load;
  koffi.load = (...args: Parameters<typeof load>) => {
    const library = load(...args);
    const nothing = Object.assign(() => 0, {
      async: (_fd: number, ended: (failure: null, result: number) => void) =>
        setImmediate(ended, null, 0),
    });
    const func = (name: string, ...more: unknown[]) =>
      name === 'syncfs' ? nothing : library.func(...([name, ...more] as unknown as [string]));
    return { func } as unknown as typeof library;
  };
}

/** Each transaction of the daemon says how durable it is to be, and the log is moved by a connection of its own. */
function breakDatabase(): void {
  const off = 'PRAGMA synchronous = OFF;';
  const kind = sqlite3.Database.prototype;
  const exec = kind.exec;
  kind.exec = function (this: sqlite3.Database, sql: string, ended) {
    const moves = sql.includes('wal_checkpoint');
    const careless = moves ? off + sql : sql.replace(/^PRAGMA synchronous = \w+;\s*(?=BEGIN)/, off);
    return exec.call(this, careless, ended);
  } as typeof exec;
}

const [, chain] = /^from:(.+)$/.exec(broken) ?? [];
if (chain !== undefined) {
  Error.stackTraceLimit = 40;
  await breakHandles(async () => callers().startsWith(chain));
} else if (broken === 'file' || broken === 'folder')
  await breakHandles(
    async (handle) => (await handle.stat()).isDirectory() === (broken === 'folder'),
  );
else if (broken === 'file-system') breakSyncfs();
else if (broken === 'database') breakDatabase();
else throw new Error(`BROKEN_SYNC is ${broken}`);
