import type { Zram } from '../kernel/zram.ts';

/** What a fast partition lies on. */
export type MediumName = 'ram' | 'zram' | 'nvme';

/** A short-lived place for data that is to be fast, private to one user. What it holds dies with the boot. */
export interface FastPartition {
  name: string;
  /** Our own mark: by it a partition is found again, never by a number. */
  id: string;
  owner: number;
  gid: number;
  medium: MediumName;
  /** On `nvme`: the volume that its image lies in, instead of the state tree. */
  volume?: string;
  /** It never holds more. */
  bytes: number;
  /** `ending`: given up, and its file system may not have ended yet. */
  state: 'ready' | 'ending';
  /** The boot in which what it holds was begun. */
  boot: string;
  createdMs: number;
  /** When it was made again, empty: after a boot, or after its mount was taken off. */
  emptiedMs?: number;
  /** The kernel may move its pages to swap. */
  swaps?: boolean;
  /** What is written passes through the page cache of its image, too: the file system below cannot do without. */
  buffered?: boolean;
  /** The device it lies on, which is ours in its boot alone. */
  device?: Zram;
}

/** What a partition came to have when it was opened. */
export type Opened = Pick<FastPartition, 'swaps' | 'buffered' | 'device'>;
