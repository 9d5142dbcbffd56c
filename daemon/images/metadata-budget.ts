import type { Entry } from './entry.ts';
import { overLimit } from './faults.ts';
import type { Limits } from './limits.ts';

/**
 * Names and attributes of one tree in memory. A large workstation has some 50 MiB of them; more than
 * this is an attack on the memory of the reader.
 */
const metadataBytesMax = 512 * 1024 * 1024;

/** Counts what a reader keeps in memory for a tree, as it grows. */
export class MetadataBudget {
  private entries = 0;
  private bytes = 0;
  private readonly limits: Limits;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  /** Counts one entry. @throws PersonaError 'limit-exceeded'. */
  count(path: string, inode?: Omit<Entry, 'path'>): void {
    if (++this.entries > this.limits.entries) {
      throw overLimit('the number of entries', this.limits.entries);
    }
    this.bytes += path.length + (inode?.target?.length ?? 0) + 16 * (inode?.extents?.length ?? 0);
    for (const [name, value] of inode?.xattrs ?? []) this.bytes += name.length + value.length;
    if (this.bytes > metadataBytesMax) {
      throw overLimit('the names and attributes', `${metadataBytesMax} bytes`);
    }
  }
}
