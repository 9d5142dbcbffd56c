import { join } from 'node:path';
import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask } from '../../changes/task.ts';
import { exists } from '../../kernel/files.ts';
import { layerFile } from '../layer.ts';
import { dropLayerFile, forgetUnusedLayer, isClaimed } from '../layer-store.ts';
import { dropPersonaFiles, personaFile } from '../persona-files.ts';
import { checkUnused, removeKinds } from '../persona-rm.ts';
import { deletePersona } from '../persona-rows.ts';
import type { PersonasRoom } from '../room.ts';

type Removed = {
  name: string;
  digest: string;
  layers: { digest: string; bytes: number }[];
};

/** The rows first: from that commit on the persona is gone, and what is left of its files is nobody's. */
export function forgetPersona(room: PersonasRoom): AnyTask {
  return defineTask<Removed & { importedMs: number }>({
    kind: removeKinds.forget,
    summary: ({ name }) => `Forget persona ${name}`,
    pointOfNoReturn: true,
    undo: 'nothing-to-undo',
    async do({ ownerUid }, { name, digest, importedMs, layers }) {
      const persona = room.book.persona(name);
      // Another one, or the same of somebody else, may have taken the name while this change waited.
      if (persona.digest !== digest || persona.importedMs !== importedMs)
        throw new PersonaError('persona-not-found', { persona: name });
      await checkUnused(room, persona, ownerUid);
      return {
        record(tx) {
          deletePersona(tx, name);
          // What an open change is about to name stays; if that change fails, a collection finds it.
          for (const layer of layers)
            if (!isClaimed(room, layer.digest)) forgetUnusedLayer(tx, layer.digest);
        },
      };
    },
  });
}

/** Removes the files that no row needs any more, and says how much space that gave back. */
export function removePersonaFiles(room: PersonasRoom): AnyTask {
  return defineTask<Removed & { bytes: number }>({
    kind: removeKinds.removeFiles,
    summary: () => 'Remove the files that only it needed',
    forward: true,
    undo: 'nothing-to-undo',
    async do(_context, { name, digest, layers, bytes }) {
      await room.book.load();
      const gone = async (file: string): Promise<boolean> =>
        !(await exists(join(room.paths.state, file)));
      await dropPersonaFiles(room, digest);
      let freedBytes = (await gone(personaFile(digest))) ? bytes : 0;
      for (const layer of layers) {
        await dropLayerFile(room, layer.digest);
        if (await gone(layerFile(layer.digest))) freedBytes += layer.bytes;
      }
      return { result: { name, digest, freedBytes } };
    },
  });
}
