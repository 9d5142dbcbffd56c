import { formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import { type AnyTask, defineTask, type Json } from '../changes/task.ts';
import type { Scrub } from './scrub.ts';

const kind = 'personas.scrub';
/** Longest time of one scrub: more than the largest state needs. */
const timeoutMs = 24 * 3_600_000;

/** What the one step is about, for people who look at it before. */
type Params = { files: number; bytes: number };

/** The change that hashes every file of bases and personas again. */
export async function planScrub(scrub: Scrub, ownerUid: number): Promise<Plan> {
  const files = await scrub.files();
  const params: Params = {
    files: files.length,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
  return {
    kind: 'system.scrub',
    summary: 'hash all images again',
    ownerUid,
    holds: ['scrub:all'],
    tasks: [{ kind, params }],
    needs: { rescue: true },
    conflict: 'refuse',
  };
}

/** The step of that change. Damage is an answer, not an error. */
export function scrubTask(scrub: Scrub): AnyTask {
  return defineTask<Params>({
    kind,
    summary: ({ files, bytes }) =>
      `hash ${files} file${files === 1 ? '' : 's'} again, ${formatSize(bytes)}`,
    timeoutMs,
    // It only reads. Cut off by a crash it is no change any more, and goes on in the background.
    undo: 'nothing-to-undo',
    async do({ signal, progress }) {
      const result = await scrub.ask(signal, progress);
      return { result: result as unknown as Json };
    },
  });
}
