/**
 * Named points at which the tests kill or stop the daemon: around every write of the journal, and
 * wherever a task calls `context.fault(name)`. Only tests and the composition root hand one in.
 */
export interface Faults {
  /** Called when the point is reached. May never return, throw, or end the process. */
  at(point: string): Promise<void>;
}

/** In service nothing happens at any point. */
export const noFaults: Faults = { at: () => Promise.resolve() };
