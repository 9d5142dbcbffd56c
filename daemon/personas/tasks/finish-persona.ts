import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import { settleLayer } from '../layer-store.ts';
import { leaveShare } from '../owner-share.ts';
import type { Imported } from '../personas.ts';
import type { PersonasRoom } from '../room.ts';
import { Staging } from '../staging.ts';
import { type Placing, unwant } from './commit-persona.ts';
import { type Added, draftOf, handed, stepKinds } from './steps.ts';

/** Clears the staging folder and answers which persona it is: its page is made for whoever asks. */
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
      leaveShare(room, context.changeId);
      const draft = draftOf(context);
      const result: Imported = {
        name: draft.existing ?? draft.name,
        existed: draft.existing !== undefined,
        rebuilt: draft.image.from === 'foreign',
      };
      return { result: { ...result } };
    },
  });
}
