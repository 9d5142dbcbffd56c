import { opendirSync } from 'node:fs';
import { throwIfHangs } from './mid-exec.ts';
import { PacedLook } from './paced-look.ts';
import { isNobody } from './processes.ts';
import { statProcLink } from './stat-mount.ts';

/** /dev/fuse: MISC_MAJOR and FUSE_MINOR of include/linux/miscdevice.h. Whoever serves a file system has it open. */
const DEVICE = '10:229';
/** More descriptors of one process are not looked at. */
const FDS_MAX = 4_096;
/** Descriptors that are listed at once. */
const FDS_PIECE = 256;
const LOOK_MS = 2_000;

async function hasDevice(pid: number, look: PacedLook): Promise<boolean> {
  throwIfHangs(pid);
  const names = opendirSync(`/proc/${pid}/fd`, { bufferSize: FDS_PIECE });
  try {
    for (let looked = 0; looked < FDS_MAX; looked += 1) {
      const name = names.readSync()?.name;
      if (name === undefined) return false;
      if (statProcLink(`/proc/${pid}/fd/${name}`)?.itself === DEVICE) return true;
      if (looked % FDS_PIECE < FDS_PIECE - 1) continue;
      await look.breathe();
      await look.throwIfOver();
      throwIfHangs(pid);
    }
    return true;
  } finally {
    names.closeSync();
  }
}

/** True when one of these processes serves a file system (FUSE), or that could not be told. */
export async function serveFuse(pids: readonly number[]): Promise<boolean> {
  using look = new PacedLook(LOOK_MS);
  let found = false;
  await look.each(pids, async (pid) => {
    if (found) return;
    try {
      if (await hasDevice(pid, look)) found = true;
    } catch (error) {
      if (!isNobody(error)) found = true;
    }
  });
  return found;
}
