import { seeded } from './random.ts';

/** Between these two lies what 95 of 100 such samples of scenarios would say. */
export type Interval = [low: number, high: number];

const RESAMPLES = 1000;
/** The same resamples for every figure: what two policies say of the same scenarios stays side by side. */
const SEED = 95;

/**
 * The 95 % interval of a figure over scenarios, by resampling them with replacement. `figure` is asked for scenarios by
 * index, some of them several times. Undefined where one scenario, or nothing to measure, says nothing of others. Pure.
 */
export function bootstrap(
  scenarios: number,
  figure: (drawn: readonly number[]) => number | undefined,
): Interval | undefined {
  if (scenarios < 2) return undefined;
  const random = seeded(SEED);
  const figures: number[] = [];
  for (let round = 0; round < RESAMPLES; round++) {
    const drawn = Array.from({ length: scenarios }, () => Math.floor(random.next() * scenarios));
    const one = figure(drawn);
    if (one !== undefined && Number.isFinite(one)) figures.push(one);
  }
  if (figures.length < RESAMPLES) return undefined;
  figures.sort((one, other) => one - other);
  const at = (share: number) => figures[Math.round(share * (RESAMPLES - 1))] as number;
  return [at(0.025), at(0.975)];
}
