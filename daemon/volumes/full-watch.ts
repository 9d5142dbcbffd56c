import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import type { VolumesRoom } from './room.ts';
import { roomyFrom, type VolumeName } from './volume.ts';

/** A volume is looked at this often: a `statfs`, which an idle machine does not feel. */
const everyMs = 10_000;

/**
 * Looks, when it is time to, and says in the log once that a volume is about to be full, and once that it has room again: for
 * whoever asks neither `status` nor `doctor`. What it returns never throws.
 */
export function watchFull(volumes: VolumesRoom, log: Log, nowMs: () => number): () => void {
  const full = new Set<VolumeName>();
  let lookedMs = Number.NEGATIVE_INFINITY;
  const look = (volume: VolumeName) => {
    const notice = volumes.fullNotice(volume);
    if (notice !== undefined) {
      if (!full.has(volume)) log.warn({ volume }, `${notice.text}: ${notice.command}`);
      full.add(volume);
      return;
    }
    if (!full.has(volume)) return;
    const size = volumes.sizeBytes(volumes.volume(volume));
    const free = volumes.freeBytes(volume);
    if (free < roomyFrom(size)) return;
    full.delete(volume);
    const text = `volume ${volume} has room again: ${formatSize(free)} of ${formatSize(size)} are free`;
    log.info({ volume }, text);
  };
  return () => {
    if (nowMs() - lookedMs < everyMs) return;
    lookedMs = nowMs();
    const mounted = volumes.mounted();
    // Another volume of that name begins anew.
    for (const gone of [...full].filter((name) => !mounted.includes(name))) full.delete(gone);
    for (const volume of mounted)
      try {
        look(volume);
      } catch (err) {
        log.debug({ err, volume }, 'cannot look at a volume that is being taken off');
      }
  };
}
