import type { Engine } from '../changes/engine.ts';
import type { SlotRoom } from '../personas/slot-room.ts';
import type { VolumesUsed } from '../system/usage.ts';
import type { VolumesRoom } from '../volumes/room.ts';

/** Slots whose data lie in a volume, in words. */
export function slotsIn({ book }: SlotRoom, volume: string): string[] {
  return book
    .slots()
    .filter((slot) => slot.volume?.name === volume)
    .map(({ name }) => `slot ${name}`);
}

/** Tells what volumes take, and where in them slots have theirs. */
export function volumesUsed(volumes: VolumesRoom): () => VolumesUsed {
  return () => ({
    count: volumes.count(),
    ownedBytes: volumes.ownedBytes(),
    slots: volumes.mounted().map((name) => volumes.slotsOf(name)),
  });
}

/** Folders in volumes that no slot has: a restore leaves them, and so does the removal of a slot whose volume was not there. */
export function leftNotices(
  volumes: VolumesRoom,
  { places, book }: SlotRoom,
  engine: Engine,
): { text: string; command: string }[] {
  // A change that makes or removes one has its folder for a while without a row.
  if (engine.open().some(({ kind }) => kind.startsWith('slot.'))) return [];
  return volumes.mounted().flatMap((volume) =>
    places.unknown(volume, book.slots()).map((path) => ({
      text: `volume ${volume} holds ${path}, which no slot has: what an earlier slot wrote`,
      command: `rm -r ${path}`,
    })),
  );
}
