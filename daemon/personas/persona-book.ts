import { PersonaError } from '../../ipc/errors.ts';
import type { Store } from '../store/store.ts';
import { type Key, readKeys } from './key-rows.ts';
import type { Persona } from './persona.ts';
import { readPersonas } from './persona-rows.ts';

/**
 * Personas and keys in memory: the daemon is the only writer of the rows, so a swap reads none. Loaded at start,
 * and again by the last step of every change of theirs, after its commit.
 */
export class PersonaBook {
  #personas = new Map<string, Persona>();
  #keys = new Map<string, Key>();
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Replaces everything by what the rows say. */
  async load(): Promise<void> {
    const [personas, keys] = [await readPersonas(this.#store), await readKeys(this.#store)];
    this.#personas = new Map(personas.map((persona) => [persona.name, persona]));
    this.#keys = new Map(keys.map((key) => [key.id, key]));
  }

  /** By name. */
  personas(): Persona[] {
    return [...this.#personas.values()];
  }

  /** By name or digest, or undefined. */
  find(reference: string): Persona | undefined {
    if (!reference.startsWith('sha256:')) return this.#personas.get(reference);
    return this.personas().find(({ digest }) => digest === reference);
  }

  /** By name or digest. Throws persona-not-found. */
  persona(reference: string): Persona {
    const found = this.find(reference);
    if (found === undefined) throw new PersonaError('persona-not-found', { persona: reference });
    return found;
  }

  /** Oldest first. */
  keys(): Key[] {
    return [...this.#keys.values()];
  }

  key(id: string): Key | undefined {
    return this.#keys.get(id);
  }

  /** By id, or the beginning of one, with or without `ed25519:`. Throws key-not-found, also when several fit. */
  keyLike(text: string): Key {
    const id = text.startsWith('ed25519:') ? text : `ed25519:${text}`;
    const found = this.keys().filter((key) => key.id.startsWith(id));
    const [key] = found;
    if (key === undefined || found.length > 1) {
      throw new PersonaError('key-not-found', { key: text });
    }
    return key;
  }
}
