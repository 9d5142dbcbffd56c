import type { Store, Tx } from '../store/store.ts';
import type { ProgramGroup } from './program-groups.ts';

/** An application whose folders lie in memory. */
export interface Served {
  /** Of its fast partition. */
  name: string;
  owner: number;
  gid: number;
  groups: number[];
  app: string;
  home: string;
  /** Relative to the home. */
  folders: string[];
  /** The boot in which memory was filled. */
  boot: string;
  sinceMs: number;
  /** Control groups of its instances. */
  programs: ProgramGroup[];
}

/** All of them. */
export async function readServed(store: Store): Promise<Served[]> {
  const rows = await store.all('SELECT * FROM served ORDER BY name');
  return rows.map((row) => ({
    name: String(row.name),
    owner: Number(row.owner),
    app: String(row.app),
    boot: String(row.boot),
    ...(JSON.parse(String(row.detail)) as Pick<
      Served,
      'gid' | 'groups' | 'home' | 'folders' | 'sinceMs' | 'programs'
    >),
  }));
}

/** Adds one, or writes what has changed of it. */
export function putServed(tx: Tx, { name, owner, app, boot, ...detail }: Served): void {
  tx.run(
    'INSERT OR REPLACE INTO served (name, owner, app, boot, detail) VALUES (?, ?, ?, ?, ?)',
    name,
    owner,
    app,
    boot,
    JSON.stringify(detail),
  );
}

/** Forgets one: the disk has everything. */
export function deleteServed(tx: Tx, name: string): void {
  tx.run('DELETE FROM served WHERE name = ?', name);
}
