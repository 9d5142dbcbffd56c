import type { Answer } from '../../ipc/methods/index.ts';
import { accountOf } from '../kernel/accounts.ts';
import { processesOf } from '../kernel/cgroups.ts';
import { type Pinning, pinFiles } from '../kernel/file-pins.ts';
import { type MappedProgram, mappedPrograms } from '../kernel/mapped-programs.ts';
import { waiting } from '../partitions/observation.ts';
import { spareOf } from '../partitions/spare.ts';
import type { LaunchGroups } from '../profiles/launch-groups.ts';
import { Pins } from '../profiles/pins.ts';
import type { LaunchParts } from './launches.ts';

/** All pins together have no more of what the user side may have at most, */
const SHARE_MAX = 0.05;
/** nor of what can be spared, */
const SPARE_MAX = 0.5;
/** nor than the unit of the service lets a process lock (`LimitMEMLOCK`). */
const BYTES_MAX = 2 ** 30;
/** Of one application. */
const FILES_MAX = 200;
const PROCESSES_MAX = 64;
/** In short supply: the user side waits for memory for this share of its time. */
const WAITING_MAX = 0.1;

/** Nothing can be spared, or somebody waits. */
export function isShort({ last, before, choice }: LaunchParts['partitions']['loop']): boolean {
  if (last === undefined) return false;
  const waited = waiting(before, last, 'user')?.some ?? 0;
  return waited > WAITING_MAX || spareOf(last, choice.settings).spareBytes === 0;
}

/** What fits together into `bytesMax`, in their order. */
export function fitting<T extends { bytes: number }>(all: readonly T[], bytesMax: number): T[] {
  let left = bytesMax;
  return all.slice(0, FILES_MAX).filter(({ bytes }) => {
    if (bytes === 0 || bytes > left) return false;
    left -= bytes;
    return true;
  });
}

/** Executables and libraries of what runs as `fast`, kept in memory by children in groups of the user side, which they count to. */
export function openPins(
  { partitions: { loop }, applications, log }: LaunchParts,
  groups: LaunchGroups,
): Pins {
  const hold = async (
    files: readonly MappedProgram[],
    account: number,
    { bytesMax, signal }: Required<Pick<Pinning, 'bytesMax' | 'signal'>>,
  ) => {
    const group = groups.name('pinned-files', account);
    const fds = fitting(files, bytesMax).map(({ file }) => file);
    const place: Pinning['place'] = (process) => groups.put(group, process, {});
    const pins = await pinFiles(fds, { bytesMax, place, signal }).catch(async (error) => {
      await groups.drop(group);
      throw error;
    });
    // What cannot be removed now is removed by the next daemon.
    const gone = pins.gone
      .then(() => groups.drop(group))
      .then(
        () => undefined,
        () => undefined,
      );
    const release = async () => {
      await pins.release();
      await gone;
    };
    return { ...pins, gone, release };
  };
  const pins: Pins = new Pins({
    log,
    bytesMax() {
      if (loop.last === undefined) return 0;
      const { userShareBytes, spareBytes } = spareOf(loop.last, loop.choice.settings);
      const most = Math.min(SHARE_MAX * userShareBytes, SPARE_MAX * spareBytes + pins.bytes);
      return Math.floor(Math.min(most, BYTES_MAX));
    },
    async pin(group, account, bytesMax, signal) {
      const pids = processesOf(groups.folder(group)).slice(0, PROCESSES_MAX);
      const files = await mappedPrograms(applications.machine, pids);
      try {
        return files.length === 0 ? undefined : await hold(files, account, { bytesMax, signal });
      } finally {
        for (const { file } of files) file.close();
      }
    },
  });
  return pins;
}

/** What is kept, for the status page. */
export const pinnedPages = (pins: Pins): NonNullable<Answer<'daemon.status'>['pinned']> =>
  pins.pages().map(({ account: uid, ...page }) => {
    const name = accountOf(uid)?.name;
    return { ...page, owner: { uid, ...(name && { name }) } };
  });
