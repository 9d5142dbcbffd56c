import { type AnyTask, defineTask } from '../../changes/task.ts';
import { sizeOf } from '../../kernel/file-blocks.ts';
import { exists, removeFile } from '../../kernel/files.ts';
import { openImage } from '../backing.ts';
import { dropVolume } from '../record.ts';
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
      const places = room.places(volume.name);
      await room.takeDown(volume.name);
      let freedBytes = 0;
      if (await exists(places.image)) {
        using file = openImage(places.image);
        freedBytes = sizeOf(file).ownedBytes;
      }
      await removeFile(places.image);
      await context.fault('volumes:removed');
      await dropVolume(places);
      room.forget(volume.name);
      return { result: { name: volume.name, freedBytes } };
    },
  });
}
