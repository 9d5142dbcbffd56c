/**
 * Loaded before the daemon (`node --import`): makes one way of making things durable do nothing, and answer as if it
 * had. `BROKEN_SYNC` names it: `file` (fsync of a file), `folder` (fsync of a folder), `file-system` (syncfs),
 * `database` (everything SQLite syncs).
 */
import { type FileHandle, open } from 'node:fs/promises';
import koffi from 'koffi';
import sqlite3 from 'sqlite3';

const broken = process.env.BROKEN_SYNC;

async function breakHandles(): Promise<void> {
  const handle = await open('/dev/null');
  const kind = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const sync = kind.sync;
  kind.sync = async function (this: FileHandle) {
    const found = (await this.stat()).isDirectory() ? 'folder' : 'file';
    if (found !== broken) await sync.call(this);
  };
}

function breakSyncfs(): void {
  const load = koffi.load;
  koffi.load = (...args: Parameters<typeof load>) => {
    const library = load(...args);
    const func = library.func.bind(library) as (...words: unknown[]) => unknown;
    const nothing = Object.assign(() => 0, {
      async: (_fd: number, ended: (failure: null, result: number) => void) =>
        setImmediate(ended, null, 0),
    });
    library.func = ((name: string, ...more: unknown[]) =>
      name === 'syncfs' ? nothing : func(name, ...more)) as typeof library.func;
    return library;
  };
}

/** The daemon sets `synchronous` and reads it back; from its first transaction on it is off. */
function breakDatabase(): void {
  const kind = sqlite3.Database.prototype;
  const exec = kind.exec;
  const off = new WeakSet<object>();
  kind.exec = function (this: sqlite3.Database, sql: string, ended) {
    if (!/^BEGIN/.test(sql) || off.has(this)) return exec.call(this, sql, ended);
    off.add(this);
    return exec.call(this, 'PRAGMA synchronous = OFF', () => exec.call(this, sql, ended));
  } as typeof exec;
}

if (broken === 'file' || broken === 'folder') await breakHandles();
else if (broken === 'file-system') breakSyncfs();
else if (broken === 'database') breakDatabase();
else throw new Error(`BROKEN_SYNC is ${broken}`);
