import { KernelError } from './errno.ts';
import type { Fd } from './fd.ts';
import { createMount, type FsOption, MOUNT_ATTR, reconfigure } from './fs-context.ts';

/** Every file takes a page beside its own entry: with one entry for so many bytes, empty files cannot take more memory than full ones. */
const BYTES_PER_INODE = 8192;
const INODES_MIN = 1024;

const sizeOptions = (bytes: number): FsOption[] => [
  { key: 'size', text: String(bytes) },
  { key: 'nr_inodes', text: String(Math.max(INODES_MIN, Math.ceil(bytes / BYTES_PER_INODE))) },
];

/** A memory file system and whose it is. */
export interface TmpfsShape {
  /** It never holds more. */
  bytes: number;
  /** What the mount table shows as its source. */
  source: string;
  uid: number;
  gid: number;
}

/**
 * Mounts an empty tmpfs, attached nowhere: nosuid, nodev, mode 0700 of its owner, of a bounded size in bytes and in files. It stays out
 * of swap where the kernel can promise that (Linux 6.4); `swaps` says that it may go there.
 */
export async function mountTmpfs(shape: TmpfsShape): Promise<{ mount: Fd; swaps: boolean }> {
  const { bytes, source, uid, gid } = shape;
  const options: FsOption[] = [
    { key: 'source', text: source },
    ...sizeOptions(bytes),
    { key: 'mode', text: '0700' },
    { key: 'uid', text: String(uid) },
    { key: 'gid', text: String(gid) },
  ];
  const flags = MOUNT_ATTR.nosuid | MOUNT_ATTR.nodev | MOUNT_ATTR.noatime;
  try {
    const mount = await createMount('tmpfs', [...options, { key: 'noswap' }], flags);
    return { mount, swaps: false };
  } catch (error) {
    if (!(error instanceof KernelError) || !error.detail.includes('noswap')) throw error;
    return { mount: await createMount('tmpfs', options, flags), swaps: true };
  }
}

/**
 * Gives a tmpfs another size, in bytes and in files, while it is in use. `mount` is open on its root, `swaps` as it was mounted. Throws EINVAL,
 * with the kernel's words, when it holds more.
 */
export async function resizeTmpfs(
  mount: Fd,
  { bytes, swaps }: { bytes: number; swaps: boolean },
): Promise<void> {
  // Some kernels take what is left unsaid for a wish to swap from now on, and refuse it.
  const stays: FsOption[] = swaps ? [] : [{ key: 'noswap' }];
  await reconfigure(mount, [...sizeOptions(bytes), ...stays], `tmpfs size=${bytes}`);
}

/** True for the failure of `resizeTmpfs` that says that it holds more. */
export const holdsMore = (error: unknown): boolean =>
  error instanceof KernelError && error.detail.includes('for current use');
