import type { Row, Store, Tx } from '../store/store.ts';

/** A key this machine knows. */
export interface Key {
  id: string;
  /** Base64 of the public key's 32 bytes. */
  publicKey: string;
  comment: string;
  state: 'machine' | 'trusted' | 'revoked';
  addedMs: number;
  changedMs: number;
}

function keyOf(row: Row): Key {
  return {
    id: String(row.id),
    publicKey: String(row.public_key),
    comment: String(row.comment),
    state: row.state as Key['state'],
    addedMs: Number(row.created),
    changedMs: Number(row.changed),
  };
}

/** Every key, oldest first. */
export async function readKeys(store: Store): Promise<Key[]> {
  return (await store.all('SELECT * FROM keys ORDER BY created, id')).map(keyOf);
}

/** Writes a key as it is to be, new or not. */
export function putKey(tx: Tx, key: Key): void {
  tx.run(
    `INSERT INTO keys (id, public_key, comment, state, created, changed) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET comment = excluded.comment, state = excluded.state,
       changed = excluded.changed`,
    key.id,
    key.publicKey,
    key.comment,
    key.state,
    key.addedMs,
    key.changedMs,
  );
}
