/** Numbers that a seed fixes for ever: the same on every machine. */
export interface Random {
  /** 0 to 1, without 1. */
  next(): number;
  between(low: number, high: number): number;
  /** Waiting times of events that come `mean` apart on average. */
  exponential(mean: number): number;
}

/** mulberry32, a public-domain generator: 32 bits of state are enough for some thousand draws. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    exponential: (mean) => -mean * Math.log(1 - next()),
  };
}
