import { type AnyTask, defineTask } from '../../changes/task.ts';
import { removeFile } from '../../kernel/files.ts';
import { openNamedFile } from '../../kernel/named-file.ts';
import type { PersonasRoom } from '../room.ts';
import { copyBytes, Staging } from '../staging.ts';
import { step, stepKinds } from './steps.ts';

/** What is taken into the staging folder first: received files, and files that must not change any more. */
export interface StageParams {
  /** Received files: name in staging -> path. The change owns them from here on. */
  taken: Record<string, string>;
  /** Files that root named: name in staging -> path. They are copied. */
  copied: Record<string, string>;
  [key: string]: Record<string, string>;
}

/** The first step: a staging folder with the inputs. Undoing it removes everything the change has not committed. */
export function stageInputs(room: PersonasRoom): AnyTask {
  return defineTask<StageParams>({
    kind: stepKinds.stage,
    summary: () => 'Take in the files that were given',
    do: (context, { taken, copied }) =>
      step(async () => {
        const staging = new Staging(room, context.changeId);
        await staging.make();
        for (const [name, path] of Object.entries(taken)) await staging.take(path, name);
        for (const [name, path] of Object.entries(copied)) {
          const source = await openNamedFile(path);
          const { size: total } = await source.stat();
          const target = await staging.create(name);
          try {
            await copyBytes(source, target, {
              signal: context.signal,
              onBytes: (done) =>
                context.progress({ done, total, unit: 'bytes', note: `copying ${path}` }),
            });
          } finally {
            await Promise.all([source.close(), target.close()]);
          }
        }
        return undefined;
      }),
    async undo(context, { taken }) {
      const staging = new Staging(room, context.changeId);
      for (const [name, path] of Object.entries(taken)) {
        // Received but not taken over yet: nobody else will remove it.
        if (!(await staging.has(name))) await removeFile(path);
      }
      await staging.remove();
    },
  });
}
