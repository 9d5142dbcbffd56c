import { existsSync, readFileSync } from 'node:fs';
import { removeFile, writeDurably } from '../kernel/files.ts';
import { type Lease, leaseKey, parseLeases } from './lease.ts';

/**
 * The leases in force, in a file of the run tree: like them it ends with the boot, and it is there when the database
 * cannot be opened or the disk is full. The file is written before a knob is.
 */
export class LeaseBook {
  readonly #file: string;
  #leases: Map<string, Lease>;

  private constructor(file: string, leases: readonly Lease[]) {
    this.#file = file;
    this.#leases = new Map(leases.map((lease) => [leaseKey(lease), lease]));
  }

  /** Opens the book, with what another daemon has left in it. Throws when the file is none of ours. */
  static open(file: string): LeaseBook {
    return new LeaseBook(file, existsSync(file) ? parseLeases(readFileSync(file, 'utf8')) : []);
  }

  all(): Lease[] {
    return [...this.#leases.values()];
  }

  find(key: string): Lease | undefined {
    return this.#leases.get(key);
  }

  /** Durable when it resolves. */
  async put(lease: Lease): Promise<void> {
    await this.#write(new Map(this.#leases).set(leaseKey(lease), lease));
  }

  async drop(lease: Lease): Promise<void> {
    const rest = new Map(this.#leases);
    rest.delete(leaseKey(lease));
    await this.#write(rest);
  }

  async #write(leases: Map<string, Lease>): Promise<void> {
    if (leases.size === 0) await removeFile(this.#file);
    else await writeDurably(this.#file, `${JSON.stringify([...leases.values()], null, 1)}\n`);
    this.#leases = leases;
  }
}
