import { PersonaError } from '../../ipc/errors.ts';
import type { SlotPage } from '../../ipc/methods/shapes.ts';
import type { Rooms } from '../api/rooms.ts';
import { execPlan } from '../personas/exec-plan.ts';
import { planMove } from '../personas/slot-move.ts';
import { slotHistory, slotPages } from '../personas/slot-pages.ts';
import type { SlotRoom } from '../personas/slot-room.ts';
import { planCreate, planRemove, planRollback, planSwap, swapAnswer } from '../personas/slots.ts';

type SlotMethods = Pick<Rooms, Extract<keyof Rooms, `slot.${string}`>>;

async function pageOf(room: SlotRoom, slot: string): Promise<SlotPage> {
  const [page] = await slotPages(room, slot);
  if (page === undefined) throw new PersonaError('slot-not-found', { slot });
  return page;
}

/** The methods of slots. */
export function slotMethods(room: SlotRoom): SlotMethods {
  return {
    'slot.create': (params, { caller, level }) => {
      if (params.owner !== undefined && params.owner !== caller.uid && level !== 'root')
        throw new PersonaError('permission-denied', { reason: 'only root names another owner' });
      return {
        plan: planCreate(room, params, caller),
        answer: async () => ({ slot: await pageOf(room, params.name) }),
      };
    },
    'slot.list': async (_, { caller }) => {
      const pages = await slotPages(room);
      return { slots: pages.filter(({ owner }) => caller.uid === 0 || owner.uid === caller.uid) };
    },
    'slot.rm': (params, { caller }) => ({ plan: planRemove(room, params, caller) }),
    'slot.move': async (params, { caller }) => ({
      plan: await planMove(room, params, caller),
      answer: async () => ({ slot: await pageOf(room, params.slot) }),
    }),
    'slot.swap': async (params, { caller }) => ({
      plan: await planSwap(room, params, caller),
      answer: swapAnswer,
    }),
    'slot.rollback': async (params, { caller }) => ({
      plan: await planRollback(room, params, caller),
      answer: swapAnswer,
    }),
    'slot.history': ({ slot, limit }) => ({ slot, generations: slotHistory(room, slot, limit) }),
    'slot.exec': ({ slot, grants, folder }, { caller }) =>
      execPlan(room, { slot, caller, grants, folder }),
  };
}
