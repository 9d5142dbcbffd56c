import { inspect } from 'node:util';

const hidden = '[secret]';

/**
 * A value that no journal, dry run, log line, status page or error can hold by accident: turning it
 * into JSON throws, turning it into text says only that it is there. `reveal` is the one way out, for
 * the call that hands it to a descriptor or a keyring.
 */
export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value itself. Never put the answer into anything that lasts. */
  reveal(): T {
    return this.#value;
  }

  toJSON(): never {
    throw new TypeError('a secret cannot be written down');
  }

  toString(): string {
    return hidden;
  }

  [Symbol.toPrimitive](): string {
    return hidden;
  }

  [inspect.custom](): string {
    return hidden;
  }
}
