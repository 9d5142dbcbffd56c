import { readlinkSync } from 'node:fs';

/** What is to be known of mount namespaces: each is asked once, by a process in it. */
export class MountNamespaces<T> {
  readonly #ask: (folder: string) => Promise<T>;
  readonly #asked = new Map<string, Promise<T>>();

  /** @param own of the namespace of this process; @param ask of that of the process with this folder below /proc. */
  constructor(own: T, ask: (folder: string) => Promise<T>) {
    this.#ask = ask;
    this.#asked.set(readlinkSync('/proc/self/ns/mnt'), Promise.resolve(own));
  }

  /** Of the namespace of the process with this folder. Throws when it has ended. */
  async of(folder: string): Promise<T> {
    const namespace = readlinkSync(`${folder}/ns/mnt`);
    const known = await this.#asked.get(namespace)?.then(
      (value) => ({ value }),
      // The one that was asked has ended, this one may not have.
      () => undefined,
    );
    if (known !== undefined) return known.value;
    const asked = this.#ask(folder);
    this.#asked.set(namespace, asked);
    return asked;
  }
}
