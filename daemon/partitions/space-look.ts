import { type Observation, type Side, sides } from './observation.ts';
import type { PolicySettings } from './policy-settings.ts';

/** What one look saw of the volume of a side. Bytes. */
export interface VolumeSeen {
  /** Marks the very volume. */
  id: string;
  sizeBytes: number;
  /** What cannot be written in it any more: files, and its own tables. */
  usedBytes: number;
  /** It cannot be made smaller than this now. */
  leastBytes: number;
  /** It was made to grow to this. */
  mostBytes: number;
}

export type SpaceSeen = Record<Side, VolumeSeen>;

/** What is set aside for both sides together: moves leave it as it is. */
export function totalOf(seen: SpaceSeen): number {
  return seen.user.sizeBytes + seen.system.sizeBytes;
}

/**
 * Volumes in the words of policies: the total is what both have, a side's memory is what it uses, its limit the size of
 * its volume, and it waits as long as its volume is fuller than the specification allows. Pure.
 */
export function spaceObservation(
  seen: SpaceSeen,
  atMs: number,
  before: Observation | undefined,
  { threshold }: PolicySettings,
): Observation {
  const side = (name: Side) => {
    const { id, sizeBytes, usedBytes } = seen[name];
    const was = before?.sides[name];
    const known = was?.group === id ? was.pressure?.someUs : undefined;
    const pressed = usedBytes > threshold.growAbove * sizeBytes;
    const passedUs = Math.max(0, (atMs - (before?.atMs ?? atMs)) * 1000);
    const someUs = (known ?? 0) + (known !== undefined && pressed ? passedUs : 0);
    return { group: id, currentBytes: usedBytes, high: sizeBytes, pressure: { someUs } };
  };
  const free = sides.map((name) => Math.max(0, seen[name].sizeBytes - seen[name].usedBytes));
  return {
    atMs,
    totalBytes: totalOf(seen),
    availableBytes: free.reduce((sum, bytes) => sum + bytes, 0),
    swapTotalBytes: 0,
    swapFreeBytes: 0,
    sides: { user: side('user'), system: side('system') },
  };
}
