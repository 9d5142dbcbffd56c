import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Log } from '../changes/log.ts';
import { statePlaces } from '../config/paths.ts';
import type { Settings } from '../config/settings.ts';
import { type DiskUsage, localSpaceOf } from '../kernel/disk-usage.ts';
import { exists, preallocate, removeFile } from '../kernel/files.ts';

/** Rows and folders: what a swap writes itself. */
const smallBytes = 1024 * 1024;

/** With less than this free a rescue gets the reserve's blocks before it begins: folders need some too. */
const rescueBytesMin = 4 * 1024 * 1024;
/** Folders of some hundred uppers: all that a rescue writes into a volume for them. */
const volumeReserveMax = 8 * 1024 * 1024;

/** The free space of the state tree, and the reserve that keeps undo and rollback possible. */
export interface Space {
  /** Throws `no-space` when `bytes` more would leave less than is kept free; a rescue always may. */
  check(bytes: number, rescue?: boolean): Promise<void>;
  /** From now on new work is refused also when the file system at `place`, a volume of our own, is about to be full; it has a reserve too. */
  alsoWatch(place: string): Promise<void>;
  /** Bytes that may be written beside what is kept free; below 0 when there are too few. */
  spareBytes(): number;
  usage(): DiskUsage & { fileSystem: string; keepFreeBytes: number; reserveBytes: number };
  /**
   * Gives the reserve's blocks back to the file system when `error` of a journal write means that it found
   * none. True when there are some now.
   */
  relieve(error: unknown): Promise<boolean>;
  /** Takes the reserve again when there is room for it. True when it stands. */
  refill(): Promise<boolean>;
}

/** What the space of a state tree depends on. */
export interface SpaceParts {
  state: string;
  settings: Settings['values'];
  log: Log;
}

/** The space of the file system that holds `state`. */
export function spaceOf({ state, settings, log }: SpaceParts): Space {
  const reserve = join(state, statePlaces.reserve);
  const wanted = settings['space.reserve'];

  const keepFree = ({ totalBytes }: Pick<DiskUsage, 'totalBytes'>): number =>
    Math.max(
      settings['space.keep_free'],
      Math.ceil((totalBytes * settings['space.keep_free_percent']) / 100),
    );
  const reserveBytes = (): number => {
    try {
      return lstatSync(reserve).blocks * 512;
    } catch {
      return 0;
    }
  };

  const release = async (): Promise<void> => {
    log.warn({ state }, 'the disk is full: the journal reserve is given back');
    await removeFile(reserve);
  };
  /** SQLite says that the disk is full, or cannot tell and it is. A failing disk is never written again. */
  const isForSpace = (error: unknown): boolean => {
    const code = String((error as { code?: unknown }).code);
    if (code === 'SQLITE_FULL') return true;
    return code.startsWith('SQLITE_IOERR') && localSpaceOf(state).availableBytes < rescueBytesMin;
  };

  let volume: ReturnType<typeof volumeSpace> | undefined;

  return {
    async alsoWatch(place) {
      volume = volumeSpace(place, settings);
      await volume.refill();
    },
    async check(bytes, rescue = false) {
      await volume?.check(rescue);
      const usage = localSpaceOf(state);
      const { availableBytes } = usage;
      if (rescue && availableBytes < rescueBytesMin && reserveBytes() > 0) await release();
      if (rescue || availableBytes - bytes >= keepFree(usage)) return;
      throw new PersonaError('no-space', {
        needed: `${formatSize(bytes)} beside ${formatSize(keepFree(usage))} kept free`,
        free: formatSize(availableBytes),
        path: state,
      });
    },
    spareBytes() {
      const usage = localSpaceOf(state);
      return usage.availableBytes - keepFree(usage);
    },
    usage() {
      const usage = localSpaceOf(state);
      return { ...usage, keepFreeBytes: keepFree(usage), reserveBytes: reserveBytes() };
    },
    async relieve(error) {
      if (reserveBytes() === 0 || !isForSpace(error)) return false;
      await release();
      return true;
    },
    async refill() {
      await volume?.refill();
      if (wanted === 0 || reserveBytes() >= wanted) return true;
      const { availableBytes } = localSpaceOf(state);
      if (availableBytes < wanted * 2) return false;
      await preallocate(reserve, wanted);
      return reserveBytes() >= wanted;
    },
  };
}

/** Space of a volume of our own. Its blocks are set aside already; what counts is that slots can go on writing, whatever a change itself needs. */
function volumeSpace(place: string, settings: Settings['values']) {
  const reserve = join(place, `.${statePlaces.reserve}`);
  const wanted = Math.min(settings['space.reserve'], volumeReserveMax);
  return {
    async check(rescue: boolean): Promise<void> {
      const { availableBytes, totalBytes } = localSpaceOf(place);
      if (rescue) {
        if (availableBytes < rescueBytesMin) await removeFile(reserve);
        return;
      }
      const percent = Math.ceil((totalBytes * settings['space.keep_free_percent']) / 100);
      const keep = Math.max(smallBytes, percent);
      if (availableBytes >= keep) return;
      throw new PersonaError('no-space', {
        needed: `${formatSize(keep)} in the volume that holds what slots write`,
        free: formatSize(availableBytes),
        path: place,
      });
    },
    async refill(): Promise<void> {
      if (wanted === 0 || (await exists(reserve))) return;
      const { availableBytes } = localSpaceOf(place);
      if (availableBytes > wanted * 2) await preallocate(reserve, wanted);
    },
  };
}
