import { failedWith } from './errno.ts';
import type { Fd } from './fd.ts';
import { createMount, type FsOption, MOUNT_ATTR } from './fs-context.ts';

/**
 * How lower layers are named to the kernel: `fd` (descriptors of detached mounts), `path` (the same by
 * /proc/self/fd), `staging` (mounts attached at hidden places, joined in one `lowerdir=`).
 */
export type LowerWay = 'fd' | 'path' | 'staging';

/** One read-only layer: its mount, and where it is attached when the way is `staging`. */
export interface Lower {
  mount: Fd;
  attachedAt?: string;
}

export interface OverlayPlan {
  /** Layers, top first. */
  lowers: Lower[];
  /** Folder that holds `fs` and `work`, as a path or as a mount of that folder. */
  upper: string | Fd;
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

function stagedPath(lower: Lower): string {
  const path = lower.attachedAt;
  if (path === undefined) throw new Error('internal error: a staged layer has no place');
  if (/[:,\\]/.test(path)) throw new Error(`internal error: ${path} cannot stand in lowerdir=`);
  return path;
}

function lowerOptions(lowers: Lower[], way: LowerWay): FsOption[] {
  if (way === 'staging') return [{ key: 'lowerdir', text: lowers.map(stagedPath).join(':') }];
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
  const upper = typeof plan.upper === 'string' ? plan.upper : plan.upper.path;
  const options: FsOption[] = [
    { key: 'source', text: plan.source },
    ...lowerOptions(plan.lowers, way),
    { key: 'upperdir', text: `${upper}/fs` },
    { key: 'workdir', text: `${upper}/work` },
    ...FIXED,
    ...(plan.volatile === true ? [{ key: 'volatile' }] : []),
  ];
  return createMount('overlay', options, MOUNT_ATTR.nosuid | MOUNT_ATTR.nodev | MOUNT_ATTR.noatime);
}

/**
 * True while some overlay, seen by us or not, writes to this upper (`FOLDER/fs`). Asks the kernel for a mount that cannot be made:
 * the answer is EBUSY when the upper is taken, and EINVAL (work folder inside the upper) when it is free. Nothing is changed.
 * @param lower any readable folder.
 */
export async function upperInUse(upper: string, lower: string): Promise<boolean> {
  const options = [
    { key: 'lowerdir', text: lower },
    { key: 'upperdir', text: `${upper}/fs` },
    { key: 'workdir', text: `${upper}/fs` },
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
