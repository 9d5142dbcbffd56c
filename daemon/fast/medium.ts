import type { Fd } from '../kernel/fd.ts';
import type { MountLine } from '../kernel/mountinfo.ts';
import type { FastPartition } from './partition.ts';

/** One kind of ground that fast partitions can lie on. */
export interface Medium {
  /** Gives the partition its own ground, and mounts it, attached nowhere. */
  open(partition: FastPartition): Promise<{ mount: Fd; swaps?: boolean }>;
  /** True when this mount is the partition's, and of nobody else. */
  isOf(partition: FastPartition, line: MountLine): boolean | Promise<boolean>;
  /** Gives back what is left of the ground once nothing of it is mounted. Safe to repeat. */
  drop(partition: FastPartition): Promise<void>;
}
