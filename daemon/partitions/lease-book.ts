import { type Lease, leaseKey, parseLeases } from './lease.ts';
import type { LeasePage } from './lease-ground.ts';

/**
 * The leases in force, in a file of the run tree: like them it ends with the boot, and it is there when the database
 * cannot be opened or the disk is full. The file is written before a knob is.
 */
export class LeaseBook {
  readonly #page: LeasePage;
  #leases: Map<string, Lease>;
  /** What was wrong with the file, or undefined. */
  problem: string | undefined;

  private constructor(page: LeasePage, leases: readonly Lease[]) {
    this.#page = page;
    this.#leases = new Map(leases.map((lease) => [leaseKey(lease), lease]));
  }

  /**
   * Opens the book, with what another daemon has left in it. A file that holds no leases is put aside as
   * `FILE.damaged`: nothing is restored by guessing, and `problem` says so.
   */
  static open(page: LeasePage): LeaseBook {
    const text = page.read();
    if (text === undefined) return new LeaseBook(page, []);
    try {
      return new LeaseBook(page, parseLeases(text));
    } catch (error) {
      const aside = page.putAside();
      const book = new LeaseBook(page, []);
      book.problem = `${page.name} held no leases (${error instanceof Error ? error.message : error}): it is ${aside} now, and nothing was given back`;
      return book;
    }
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
    if (leases.size === 0) await this.#page.remove();
    else await this.#page.write(`${JSON.stringify([...leases.values()], null, 1)}\n`);
    this.#leases = leases;
  }
}
