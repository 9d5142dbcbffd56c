import { join } from 'node:path';
import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import { statePlaces } from '../../config/paths.ts';
import { removeFile, writeDurably } from '../../kernel/files.ts';
import type { Key } from '../key-rows.ts';
import { putKey } from '../key-rows.ts';
import { keyPage } from '../keys.ts';
import { keyObjectOf, parsePublicKey } from '../public-key.ts';
import type { PersonasRoom } from '../room.ts';

/** The file of a trusted key tells who is trusted when there is no database. */
async function writeKeyFile(room: PersonasRoom, key: Key | undefined, id: string): Promise<void> {
  const file = join(room.paths.state, statePlaces.trustedKeys, `${id.replace(':', '-')}.pub`);
  if (key?.state !== 'trusted') return removeFile(file);
  const pem = keyObjectOf(parsePublicKey(key.publicKey)).export({ type: 'spki', format: 'pem' });
  await writeDurably(file, pem, 0o400);
}

const words = { trusted: 'Trust', revoked: 'Revoke', machine: 'Keep' } as const;

/** The steps of changes of keys. */
export function keyTasks(room: PersonasRoom): AnyTask[] {
  const setState = defineTask<Key & { [key: string]: Json }>({
    kind: 'keys.set-state',
    summary: ({ id, state }) => `${words[state]} the key ${id}`,
    pointOfNoReturn: true,
    async do(_context, key) {
      await writeKeyFile(room, key, key.id);
      return { record: (tx) => putKey(tx, key) };
    },
    async undo(_context, { id }) {
      await writeKeyFile(room, room.book.key(id), id);
    },
  });
  const refresh = defineTask<{ id: string }>({
    kind: 'keys.refresh',
    summary: ({ id }) => `Tell everything that asks about the key ${id}`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(_context, { id }) {
      await room.book.load();
      const key = room.book.key(id);
      if (key === undefined) return {};
      return { result: { key: { ...keyPage(room.book, key) } } };
    },
  });
  return [setState, refresh];
}
