import { type AnyTask, defineTask } from '../../changes/task.ts';
import { sizeOf } from '../../kernel/file-blocks.ts';
import { exists, removeFile } from '../../kernel/files.ts';
import { openImage } from '../backing.ts';
import { dropVolume, readVolume } from '../record.ts';
import type { VolumesRoom } from '../room.ts';
import type { Volume } from '../volume.ts';

/** Removes a volume that was decided on. A start in between has mounted it again. */
export function removeImageTask(room: VolumesRoom): AnyTask {
  return defineTask<{ volume: Volume }>({
    kind: 'volumes.remove-image',
    summary: ({ volume }) => `remove ${room.places(volume.name).image}`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, { volume }) {
      const { name } = volume;
      const places = room.places(name);
      // Repeated long after: another volume has the name by now.
      const now = await readVolume(name, places);
      if (now !== undefined && now.uuid !== volume.uuid) return { result: { name, freedBytes: 0 } };
      await room.takeDown(name);
      let freedBytes = 0;
      if (await exists(places.image)) {
        using file = openImage(places.image);
        freedBytes = sizeOf(file).ownedBytes;
      }
      await removeFile(places.image);
      await context.fault('volumes:removed');
      await dropVolume(places);
      room.forget(name);
      return { result: { name, freedBytes } };
    },
  });
}
