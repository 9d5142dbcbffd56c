import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { failedWith } from './errno.ts';
import { runProgram } from './exec.ts';
import { findProgram } from './probe-host.ts';

const CONTROL = '/dev/mapper/control';
const SYS_BLOCK = '/sys/block';
const SYS_EXT4 = '/sys/fs/ext4';

/** What is under way is written first: seconds on a slow disk. */
const DMSETUP_MS = 60_000;
/** How long the kernel may take to end a file system after its last user. */
const END_MS = 1_000;
/** How long those may hold a device who only look at new ones (udev). */
const LOOK_MS = 10_000;
const PAUSE_MS = 20;

/** A block device of device-mapper. */
export interface Mapping {
  name: string;
  /** `dm-N`. */
  block: string;
  /** It lies on another device; one whose table is gone gives errors only. */
  live: boolean;
}

/** Why there is no device-mapper here; undefined when there is. */
export function deviceMapperProblem(): string | undefined {
  try {
    closeSync(openSync(CONTROL, 'r+')); // its node may be there without it: tools make one
  } catch (error) {
    return `device-mapper is not there (${CONTROL}: ${(error as NodeJS.ErrnoException).code})`;
  }
  return findProgram('dmsetup') === undefined ? 'dmsetup is not installed' : undefined;
}

/** Where the device of a mapping is. */
export function pathOfMapping({ block }: Mapping): string {
  return `/dev/${block}`;
}

/** The mappings whose names begin so. `root` is for the tests. */
export function mappingsNamed(prefix: string, root = SYS_BLOCK): Mapping[] {
  return readdirSync(root)
    .filter((block) => block.startsWith('dm-'))
    .flatMap((block) => {
      try {
        const name = readFileSync(`${root}/${block}/dm/name`, 'utf8').trim();
        if (!name.startsWith(prefix)) return [];
        return [{ name, block, live: readdirSync(`${root}/${block}/slaves`).length > 0 }];
      } catch (error) {
        if (failedWith(error, 'ENOENT', 'ENODEV', 'ENXIO')) return []; // it has just gone
        throw error;
      }
    });
}

async function dmsetup(...args: string[]): Promise<void> {
  const file = findProgram('dmsetup');
  if (file === undefined) throw new Error('dmsetup is not installed');
  await runProgram({ file, args, deadlineMs: DMSETUP_MS });
}

/** Waits until it is so, or for so long. */
async function comes(is: () => boolean, withinMs: number): Promise<boolean> {
  for (let waited = 0; !is(); waited += PAUSE_MS) {
    if (waited >= withinMs) return false;
    await pause(PAUSE_MS);
  }
  return true;
}

/**
 * Takes a mapping and its key out of the kernel. Somebody may still use the ext4 file system on it, which is mounted nowhere in our sight: then
 * everything is written, all further requests fail, and what is left of the mapping goes with the last user. True in that case.
 */
export async function removeMapping({ name, block }: Mapping): Promise<boolean> {
  const isThere = () => mappingsNamed(name).some((one) => one.name === name);
  const isUsed = () => existsSync(`${SYS_EXT4}/${block}`);
  const held = !(await comes(() => !isUsed(), END_MS));
  if (held) await dmsetup('wipe_table', name);
  await dmsetup('remove', '--deferred', name);
  if (held && isUsed()) return true;
  await comes(() => !isThere(), LOOK_MS);
  return false;
}
