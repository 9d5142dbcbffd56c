import type { Store } from '../../daemon/store/store.ts';

/**
 * Takes out of the journal what came after the point of no return of the first change of this kind, as where the disk had no room for it: the
 * next start does that part once more.
 */
export async function loseEnd(store: Store, kind: string): Promise<void> {
  const { id } = (await store.get('SELECT min(id) AS id FROM changes WHERE kind = ?', kind)) ?? {};
  const commit = "SELECT seq FROM events WHERE change = ? AND event = 'commit'";
  await store.commit((tx) => {
    tx.run(`DELETE FROM events WHERE change = ? AND seq > (${commit})`, Number(id), Number(id));
    tx.run("UPDATE changes SET status = 'committed', ended = NULL WHERE id = ?", Number(id));
  });
}
