import type { Plan } from '../changes/change.ts';
import type { PersonasRoom } from './room.ts';

/** Kind of the one step. */
export const verifyKind = 'personas.verify';

/** The change that reads every layer of a persona again. Throws persona-not-found. */
export function planVerify(room: PersonasRoom, reference: string, ownerUid: number): Plan {
  const { name, digest } = room.book.persona(reference);
  return {
    kind: 'persona.verify',
    summary: `Verify persona ${name}`,
    ownerUid,
    holds: [`shared:persona:${digest}`],
    tasks: [{ kind: verifyKind, params: { digest } }],
    needs: { rescue: true },
  };
}
