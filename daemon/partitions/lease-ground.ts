import type { HeldGroup } from '../kernel/held-group.ts';

/** Where leases are written down. */
export interface LeasePage {
  /** For people. */
  name: string;
  /** Undefined: nothing is written there. */
  read(): string | undefined;
  /** Durable when it resolves. */
  write(text: string): Promise<void>;
  remove(): Promise<void>;
  /** Puts what is there away, and answers where it is now. */
  putAside(): string;
}

/** Knobs that a service manager writes, because they are properties of its units. */
export interface UnitKnobs {
  /** The unit whose property this knob is. */
  find(group: string, knob: string): string | undefined;
  /** The value in the property's own file, if it has one; empty when the file says none. */
  kept(unit: string, knob: string): string | undefined;
  /** Answers before the kernel has the value. */
  set(unit: string, knob: string, value: string): Promise<void>;
  /** Removes the file of the property. */
  forget(unit: string, knob: string): void;
}

/** What leases stand on: groups of this machine, or simulated ones. */
export interface LeaseGround {
  hold(root: string, group: string): HeldGroup | undefined;
  /** Absent: knobs are written where they are. */
  units?: UnitKnobs;
}
