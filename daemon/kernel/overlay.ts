import { failedWith, KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { createMount, type FsOption, MOUNT_ATTR } from './fs-context.ts';
import { openPlace } from './mounts.ts';

/**
 * How lower layers are named to the kernel: `fd` (descriptors of detached mounts), `path` (the same by
 * /proc/self/fd), `staging` (mounts attached at hidden places, joined in one `lowerdir=`).
 */
export type LowerWay = 'fd' | 'path' | 'staging';

/** One read-only layer: its mount, and where it is attached when the way is `staging`. */
export interface Lower {
  mount: Fd;
  attachedAt?: string;
  /** A name in its root folder; absent for an empty one. */
  sample?: string;
}

export interface OverlayPlan {
  /** Layers, top first. */
  lowers: Lower[];
  /** Folder that holds `fs` and `work`. */
  upper: string;
  /** Never wait for the disk: only for trees that are thrown away. */
  volatile?: boolean;
  /** Shown as the source in mount tables. */
  source: string;
}

/** Layers of one overlay: below the kernel's limit of 500, and within one page of options by the old call. */
export const LOWERS_LIMIT = 64;

/** Every default that distributions change is written out: none is left to chance. */
const FIXED: FsOption[] = [
  { key: 'index', text: 'off' },
  { key: 'metacopy', text: 'off' },
  { key: 'redirect_dir', text: 'off' },
  { key: 'xino', text: 'auto' },
];

/** Longest string that fsconfig(2) takes, without its end. */
const TEXT_MAX = 255;

/** Joined in one option, short names are needed: descriptors of attached mounts, which any kernel follows. */
function stagedOption(lowers: Lower[]): FsOption {
  if (lowers.some(({ attachedAt }) => attachedAt === undefined)) {
    throw new Error('internal error: a staged layer has no place');
  }
  const text = lowers.map(({ mount }) => mount.path).join(':');
  if (text.length > TEXT_MAX) {
    throw new KernelError(
      'fsconfig',
      'E2BIG',
      `lowerdir= of ${lowers.length} layers on this kernel`,
    );
  }
  return { key: 'lowerdir', text };
}

function lowerOptions(lowers: Lower[], way: LowerWay): FsOption[] {
  if (way === 'staging') return [stagedOption(lowers)];
  return lowers.map(({ mount }) =>
    way === 'fd' ? { key: 'lowerdir+', fd: mount } : { key: 'lowerdir+', text: mount.path },
  );
}

/**
 * Makes a slot's tree, attached nowhere: nosuid, nodev, noatime on the overlay itself (flags of the layers do not carry over).
 * Waits for the disk under load, so it runs in the thread pool. Throws KernelError with the kernel's words.
 */
export async function mountOverlay(plan: OverlayPlan, way: LowerWay): Promise<Fd> {
  if (plan.lowers.length === 0 || plan.lowers.length > LOWERS_LIMIT) {
    throw new Error(`internal error: an overlay of ${plan.lowers.length} layers`);
  }
  const { path, close } = upperPath(plan.upper);
  const options: FsOption[] = [
    { key: 'source', text: plan.source },
    ...lowerOptions(plan.lowers, way),
    { key: 'upperdir', text: `${path}/fs` },
    { key: 'workdir', text: `${path}/work` },
    ...FIXED,
    ...(plan.volatile === true ? [{ key: 'volatile' }] : []),
  ];
  const flags = MOUNT_ATTR.nosuid | MOUNT_ATTR.nodev | MOUNT_ATTR.noatime;
  try {
    return await createMount('overlay', options, flags);
  } finally {
    close();
  }
}

/** The upper's name for fsconfig: as mount tables shall show it, or, when that is too long, by a descriptor. */
function upperPath(upper: string): { path: string; close(): void } {
  if (upper.length + '/work'.length <= TEXT_MAX) return { path: upper, close: () => undefined };
  const folder = openPlace(upper);
  return { path: folder.path, close: () => folder.close() };
}

/**
 * True while some overlay, seen by us or not, writes to this upper (`FOLDER/fs`). Asks the kernel for a mount that cannot be made:
 * the answer is EBUSY when the upper is taken, and EINVAL (work folder inside the upper) when it is free. Nothing is changed.
 * @param lower any readable folder.
 */
export async function upperInUse(upper: string, lower: string): Promise<boolean> {
  using folder = openPlace(upper);
  using below = openPlace(lower);
  const options = [
    { key: 'lowerdir', text: below.path },
    { key: 'upperdir', text: `${folder.path}/fs` },
    { key: 'workdir', text: `${folder.path}/fs` },
    { key: 'index', text: 'on' },
  ];
  try {
    const mount = await createMount('overlay', options, 0);
    await mount.closeLater();
  } catch (error) {
    if (failedWith(error, 'EBUSY')) return true;
    if (failedWith(error, 'EINVAL')) return false;
    throw error;
  }
  throw new Error('internal error: the kernel made an overlay whose work folder is its upper');
}
