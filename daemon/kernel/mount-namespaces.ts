import { readlinkSync } from 'node:fs';
import { throwIfHangs } from './mid-exec.ts';

/** What is to be known of mount namespaces: each is asked once, by a process in it. */
export class MountNamespaces<T> {
  readonly #ask: (pid: number) => Promise<T>;
  readonly #asked = new Map<string, Promise<T>>();

  /** @param own of the namespace of this process; @param ask of that of a process. */
  constructor(own: T, ask: (pid: number) => Promise<T>) {
    this.#ask = ask;
    this.#asked.set(readlinkSync('/proc/self/ns/mnt'), Promise.resolve(own));
  }

  /** Of the namespace of a process. Throws when it has ended, or hangs on its way to another program. */
  async of(pid: number): Promise<T> {
    throwIfHangs(pid);
    const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
    const known = await this.#asked.get(namespace)?.then(
      (value) => ({ value }),
      // The one that was asked has ended, this one may not have.
      () => undefined,
    );
    if (known !== undefined) return known.value;
    const asked = this.#ask(pid);
    this.#asked.set(namespace, asked);
    return asked;
  }
}
