import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import type { Json } from '../changes/task.ts';
import type { Key } from './key-rows.ts';
import type { PersonaBook } from './persona-book.ts';
import { keyIdOf, keyText, parsePublicKey } from './public-key.ts';
import type { PersonasRoom } from './room.ts';

/** A key as people see it. */
export interface KeyPage {
  id: string;
  state: 'own' | 'trusted' | 'revoked';
  publicKey: string;
  comment?: string;
  addedMs: number;
  /** Personas that it signed. */
  personas: string[];
}

/** One key with what it signed. */
export function keyPage(book: PersonaBook, key: Key): KeyPage {
  return {
    id: key.id,
    state: key.state === 'machine' ? 'own' : key.state,
    publicKey: key.publicKey,
    ...(key.comment === '' ? {} : { comment: key.comment }),
    addedMs: key.addedMs,
    personas: book
      .personas()
      .filter(({ signature }) => signature?.key_id === key.id)
      .map(({ name }) => name),
  };
}

/** The keys of this machine, oldest first. */
export function listKeys({ book }: PersonasRoom): KeyPage[] {
  return book.keys().map((key) => keyPage(book, key));
}

/** The change that trusts a public key (PEM or base64). Throws bad-value, or already-exists when it is trusted. */
export function planTrust(
  room: PersonasRoom,
  params: { publicKey: string; comment?: string | undefined },
  ownerUid: number,
): Plan {
  const raw = parsePublicKey(params.publicKey);
  const id = keyIdOf(raw);
  const known = room.book.key(id);
  if (known !== undefined && known.state !== 'revoked') {
    throw new PersonaError('already-exists', { what: `the key ${id}` });
  }
  const nowMs = room.now();
  const key: Key = {
    id,
    publicKey: keyText(raw),
    comment: params.comment ?? known?.comment ?? '',
    state: 'trusted',
    addedMs: known?.addedMs ?? nowMs,
    changedMs: nowMs,
  };
  return keyPlan('key.trust', `Trust the key ${id}`, key, ownerUid);
}

/**
 * The change that revokes a key: from its commit on, what the key signed is not activated any more.
 * Throws key-not-found, or bad-value for this machine's own key.
 */
export function planRevoke(room: PersonasRoom, params: { key: string }, ownerUid: number): Plan {
  const known = room.book.keyLike(params.key);
  if (known.state === 'machine') {
    const reason = "this machine's own key cannot be revoked; remove its personas instead";
    throw new PersonaError('bad-value', { name: known.id, reason });
  }
  const key: Key = { ...known, state: 'revoked', changedMs: room.now() };
  return keyPlan('key.revoke', `Revoke the key ${known.id}`, key, ownerUid);
}

function keyPlan(kind: string, summary: string, key: Key, ownerUid: number): Plan {
  return {
    kind,
    summary,
    ownerUid,
    holds: [`key:${key.id}`],
    tasks: [
      { kind: 'keys.set-state', params: { ...key } satisfies Json },
      { kind: 'keys.refresh', params: { id: key.id } },
    ],
    needs: { rescue: true },
  };
}
