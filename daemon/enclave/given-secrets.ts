import { randomBytes } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import type { Secret } from '../config/secret.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';

/** A passphrase or the content of a key file. */
export type GivenSecret = Secret<LockedBytes>;

/** A change that has not begun by then is given up: its secret must not wait for ever. */
const keptMs = 15 * 60_000;

/** Secrets of changes that run or wait, by a name that stands in the plan: a plan is written down, a secret never. */
export class GivenSecrets {
  readonly #given = new Map<string, { secret: GivenSecret; timer: NodeJS.Timeout }>();

  /** The name under which the steps of a change find the secret. */
  put(secret: GivenSecret): string {
    const name = randomBytes(8).toString('hex');
    const timer = setTimeout(() => this.wipe(name), keptMs).unref();
    this.#given.set(name, { secret, timer });
    return name;
  }

  /** The bytes, which stay where they are. Throws `ticket-not-found` when they are gone. */
  take(name: string): LockedBytes {
    const bytes = this.#given.get(name)?.secret.reveal();
    if (bytes === undefined || bytes.wiped) throw new PersonaError('ticket-not-found');
    return bytes;
  }

  /** Overwrites a secret that is not needed any more. Safe to repeat. */
  wipe(name: string): void {
    const given = this.#given.get(name);
    if (given === undefined) return;
    clearTimeout(given.timer);
    given.secret.reveal().wipe();
    this.#given.delete(name);
  }

  /** Overwrites all of them. */
  close(): void {
    for (const name of [...this.#given.keys()]) this.wipe(name);
  }
}
