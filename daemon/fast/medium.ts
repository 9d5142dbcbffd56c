import type { Fd } from '../kernel/fd.ts';
import type { MountLine } from '../kernel/mountinfo.ts';
import type { FastPartition, Opened } from './partition.ts';

/** One kind of ground that fast partitions can lie on. */
export interface Medium {
  /** Smaller ones would hold little more than their own tables. */
  readonly bytesMin: number;
  /** What it takes of the machine: memory, or nothing of it. */
  readonly takesMemory: boolean;
  /** The part of its size that counts for what users may have. */
  readonly countsAs: number;
  /** Why this machine has none, with what would help; undefined where it has. */
  obstacle(): { capability: string } | undefined;
  /**
   * Gives the partition its own ground, unless it has it already, and mounts it, attached nowhere.
   * @param save makes known what has to be given back, before anything is put on it.
   */
  open(
    partition: FastPartition,
    save: (opened: Opened) => Promise<void>,
  ): Promise<{ mount: Fd; empty: boolean; opened: Opened }>;
  /** What is to be kept of a partition that this mount shows; undefined when the mount is another's. */
  openedOf(partition: FastPartition, line: MountLine): Opened | undefined;
  /** Gives what `mount` is the root of another size, while it is in use. Absent where that cannot be. Throws bad-value when it holds more. */
  resize?(mount: Fd, bytes: number, opened: Opened): Promise<void>;
  /** Bytes of memory that it takes now, of a partition that is shown here. */
  memoryBytes(partition: FastPartition, at: string): number;
  /** Puts right, at a start, what a partition that is shown may have lost; says what cannot be put right. */
  keepUp(partition: FastPartition): Promise<string | undefined>;
  /** Gives back what is left of the ground once nothing of it is mounted. Safe to repeat. */
  drop(partition: FastPartition): Promise<void>;
}
