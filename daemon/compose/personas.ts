import { PersonaError } from '../../ipc/errors.ts';
import type { Rooms } from '../api/rooms.ts';
import type { AnyTask } from '../changes/task.ts';
import { wallMs } from '../kernel/clock.ts';
import { listBases, ownerOfBase, showBase } from '../personas/bases.ts';
import { listKeys, planRevoke, planTrust } from '../personas/keys.ts';
import type { PersonaSource } from '../personas/persona-source.ts';
import { openPersonasRoom } from '../personas/room.ts';
import { keyTasks } from '../personas/tasks/key-tasks.ts';
import type { RoomsParts } from './rooms.ts';

export async function openPersonas(parts: RoomsParts) {
  const { store, paths } = parts;
  const room = await openPersonasRoom({ store, paths, now: wallMs });
  const tasks: AnyTask[] = [...keyTasks(room)];
  const source: PersonaSource = {
    persona: async (persona) => {
      throw new PersonaError('persona-not-found', { persona });
    },
    base: async (base) => {
      throw new PersonaError('base-not-found', { base });
    },
    open: async () => {
      throw new PersonaError('internal', 'no');
    },
  };
  const methods = {
    'base.list': async () => ({ bases: await listBases(room) }),
    'base.show': async ({ base }: { base: string }) => ({ base: await showBase(room, base) }),
    'key.list': () => ({ keys: listKeys(room) }),
    'key.trust': (params: { publicKey: string }, request: { caller: { uid: number } }) => ({
      plan: planTrust(room, params, request.caller.uid),
    }),
    'key.revoke': (params: { key: string }, request: { caller: { uid: number } }) => ({
      plan: planRevoke(room, params, request.caller.uid),
    }),
    'persona.list': () => ({ personas: [] }),
  } as unknown as Omit<Rooms, `slot.${string}` | `system.${string}` | 'daemon.doctor'>;
  return {
    room,
    tasks,
    source,
    methods,
    owners: {
      persona: async (reference: string) => room.book.find(reference)?.owner,
      base: (reference: string) => ownerOfBase(room, reference),
    },
  };
}
