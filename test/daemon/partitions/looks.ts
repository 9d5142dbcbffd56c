import fc from 'fast-check';
import type { Observation, SideObservation } from '../../../daemon/partitions/observation.ts';

export const GiB = 2 ** 30;

/** A look at a machine of 16 GiB where nothing happens, with these differences. */
export function look(
  atMs: number,
  user: Partial<SideObservation> = {},
  system: Partial<SideObservation> = {},
  host: Partial<Observation> = {},
): Observation {
  const side = (group: string, more: Partial<SideObservation>): SideObservation => ({
    group,
    currentBytes: 4 * GiB,
    anonBytes: 2 * GiB,
    fileBytes: 2 * GiB,
    refaults: 0,
    activations: 0,
    highEvents: 0,
    pressure: { someUs: 0, fullUs: 0 },
    low: 0,
    high: 'max',
    ...more,
  });
  return {
    atMs,
    totalBytes: 16 * GiB,
    availableBytes: 8 * GiB,
    swapTotalBytes: 16 * GiB,
    swapFreeBytes: 16 * GiB,
    sides: { user: side('u', user), system: side('s', system) },
    ...host,
  };
}

/** What happens to a side between two looks. */
const sideSecond = fc.record({
  currentBytes: fc.integer({ min: 0, max: 16 * GiB }),
  someUs: fc.integer({ min: 0, max: 1_000_000 }),
  pages: fc.integer({ min: 0, max: 400_000 }),
  gone: fc.boolean(),
  blind: fc.boolean(),
});

/** Any life of a machine, as looks a second apart; sides may vanish, counters may be missing. */
export const lives = fc
  .array(fc.tuple(sideSecond, sideSecond, fc.integer({ min: 0, max: 16 * GiB })), {
    minLength: 1,
    maxLength: 80,
  })
  .map((seconds) => {
    const sums = { user: { someUs: 0, pages: 0 }, system: { someUs: 0, pages: 0 } };
    return seconds.map(([user, system, swapFreeBytes], index) => {
      const part = (name: 'user' | 'system', one: typeof user): Partial<SideObservation> => {
        sums[name].someUs += one.someUs;
        sums[name].pages += one.pages;
        const counted = { refaults: sums[name].pages, activations: sums[name].pages };
        const pressure = { someUs: sums[name].someUs, fullUs: 0 };
        return { currentBytes: one.currentBytes, ...(one.blind ? {} : { ...counted, pressure }) };
      };
      const seen = look(index * 1000, part('user', user), part('system', system), {
        swapFreeBytes,
      });
      if (user.gone && index % 7 === 3) delete seen.sides.user;
      if (system.gone && index % 7 === 5) delete seen.sides.system;
      return seen;
    });
  });
