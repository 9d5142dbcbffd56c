import { createHash } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import type { Layer } from './layer.ts';
import type { Generation, Slot, SlotFacts, Upper } from './slot-rows.ts';

/** The name of a stack of layers: an upper goes on this one and no other. */
export function stackDigest(layers: Layer[]): string {
  const list = layers.map(({ digest }) => digest).join('\n');
  return `sha256:${createHash('sha256').update(list).digest('hex')}`;
}

/**
 * What is known of slots, in memory: the daemon is the only writer of the rows, so a swap reads none.
 * Changed only after the rows were committed.
 */
export class SlotBook {
  #slots = new Map<string, Slot>();
  #generations = new Map<string, Map<number, Generation>>();
  #uppers = new Map<string, Upper>();

  /** Replaces everything by what the rows say. */
  load(facts: SlotFacts): void {
    this.#slots = new Map(facts.slots.map((slot) => [slot.name, slot]));
    this.#generations = new Map();
    for (const generation of facts.generations) this.putGeneration(generation);
    this.#uppers = new Map(facts.uppers.map((upper) => [upper.id, upper]));
  }

  slots(): Slot[] {
    return [...this.#slots.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  find(name: string): Slot | undefined {
    return this.#slots.get(name);
  }

  /** The slot of this name. Throws slot-not-found. */
  slot(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot === undefined) throw new PersonaError('slot-not-found', { slot: name });
    return slot;
  }

  putSlot(slot: Slot): void {
    this.#slots.set(slot.name, slot);
  }

  dropSlot(name: string): void {
    this.#slots.delete(name);
    this.#generations.delete(name);
    for (const upper of this.uppersOf(name)) this.#uppers.delete(upper.id);
  }

  putGeneration(generation: Generation): void {
    const known = this.#generations.get(generation.slot) ?? new Map<number, Generation>();
    known.set(generation.number, generation);
    this.#generations.set(generation.slot, known);
  }

  /** Forgets a generation whose row is gone. */
  dropGeneration(slot: string, number: number): void {
    this.#generations.get(slot)?.delete(number);
  }

  /** Forgets an upper whose row is gone. */
  dropUpper(id: string): void {
    this.#uppers.delete(id);
  }

  /** Generations of a slot, oldest first. */
  generations(slot: string): Generation[] {
    // Rows are read in order and numbers only grow, so the map is in order.
    return [...(this.#generations.get(slot)?.values() ?? [])];
  }

  /** How many generations a slot has had. */
  count(slot: string): number {
    return this.#generations.get(slot)?.size ?? 0;
  }

  /** One generation. Throws generation-not-found. */
  generation(slot: string, number: number): Generation {
    const found = this.#generations.get(slot)?.get(number);
    if (found === undefined) {
      throw new PersonaError('generation-not-found', { slot, generation: number });
    }
    return found;
  }

  /** What is active in a slot, or undefined. */
  current(slot: Slot): Generation | undefined {
    return slot.current === undefined ? undefined : this.generation(slot.name, slot.current);
  }

  /** The number of the next generation. */
  nextNumber(slot: string): number {
    return 1 + (this.generations(slot).at(-1)?.number ?? 0);
  }

  putUpper(upper: Upper): void {
    this.#uppers.set(upper.id, upper);
  }

  /** One upper. Throws state-damaged when a generation names one that has no row. */
  upper(id: string): Upper {
    const upper = this.#uppers.get(id);
    if (upper === undefined) throw new PersonaError('state-damaged', `no upper ${id} is recorded`);
    return upper;
  }

  knowsUpper(id: string): boolean {
    return this.#uppers.has(id);
  }

  uppersOf(slot: string): Upper[] {
    return [...this.#uppers.values()].filter((upper) => upper.slot === slot);
  }

  /** The newest generation of a slot on this stack that was not a failure: what a persona goes on from. */
  latestOn(slot: string, stack: string): Generation | undefined {
    return this.generations(slot).findLast(
      ({ state, upper }) => state !== 'failed' && this.#uppers.get(upper)?.stack === stack,
    );
  }

  /** The newest generation whose writable layer is this one. */
  latestWith(upper: string): Generation | undefined {
    const found = this.#uppers.get(upper);
    if (found === undefined) return undefined;
    return this.generations(found.slot).findLast((generation) => generation.upper === upper);
  }
}
