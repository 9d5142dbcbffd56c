import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import { settleLayer } from '../layer-store.ts';
import { personaPage } from '../persona-page.ts';
import { slotsByPersona } from '../persona-use.ts';
import type { PersonasRoom } from '../room.ts';
import { Staging } from '../staging.ts';
import { type Placing, unwant } from './commit-persona.ts';
import { type Added, draftOf, handed, stepKinds } from './steps.ts';

/** Clears the staging folder and answers with the persona as it now stands in the store. */
export function finishPersona(room: PersonasRoom): AnyTask {
  return defineTask<Record<string, never>, Json>({
    kind: stepKinds.finish,
    summary: () => 'Clear the staging folder',
    forward: true,
    undo: 'nothing-to-undo',
    async do(context) {
      const placed = context.earlier(stepKinds.commit) as Placing | undefined;
      if (placed !== undefined) {
        for (const kind of [stepKinds.seed, stepKinds.runtime]) {
          const { layer } = handed<Added>(context, kind);
          if (layer !== undefined) settleLayer(room, context.changeId, layer.digest);
        }
        unwant(room, placed.persona, context.changeId);
      }
      await new Staging(room, context.changeId).remove();
      await room.book.load();
      const draft = draftOf(context);
      const persona = room.book.find(draft.existing ?? draft.name);
      // Removed again before a restart could finish this: nothing is left to say.
      if (persona === undefined) return {};
      const slots = (await slotsByPersona(room.store)).get(persona.digest) ?? [];
      return {
        result: {
          persona: personaPage(room.book, persona, slots) as unknown as Json,
          existed: draft.existing !== undefined,
          rebuilt: draft.image.from === 'foreign',
        },
      };
    },
  });
}
