import type { Entry } from './entry.ts';
import { comparePaths } from './order.ts';

/** The entries of two trees at one path; at least one is there. */
export interface Pair {
  a: Entry | undefined;
  b: Entry | undefined;
}

/** Walks two trees in their common order. */
export function* paired(a: readonly Entry[], b: readonly Entry[]): Generator<Pair> {
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    const order =
      left === undefined ? 1 : right === undefined ? -1 : comparePaths(left.path, right.path);
    if (order <= 0) i += 1;
    if (order >= 0) j += 1;
    yield { a: order <= 0 ? left : undefined, b: order >= 0 ? right : undefined };
  }
}
