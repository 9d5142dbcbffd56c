import type { Safe } from './safe.ts';

const levels = '▁▂▃▄▅▆▇█';
const plain = '.:-=+*#@';

/**
 * Numbers as one line of blocks, the newest at its right end: the means of as many neighbours as it takes to fit into
 * `width`. What is not known is a space. `top` is a full block; by default the largest number.
 */
export function sparkline(
  values: readonly (number | undefined)[],
  width: number,
  unicode: boolean,
  top?: number,
): Safe {
  const per = Math.max(1, Math.ceil(values.length / width));
  const points: (number | undefined)[] = [];
  for (let end = values.length; end > 0; end -= per) {
    const known = values.slice(Math.max(0, end - per), end).filter((one) => one !== undefined);
    points.unshift(
      known.length === 0 ? undefined : known.reduce((sum, one) => sum + one, 0) / known.length,
    );
  }
  const most = top ?? Math.max(0, ...points.filter((one) => one !== undefined));
  const marks = unicode ? levels : plain;
  const text = points
    .map((one) => {
      if (one === undefined) return ' ';
      const share = most > 0 ? Math.min(1, Math.max(0, one / most)) : 0;
      return marks[Math.min(7, Math.floor(share * 8))];
    })
    .join('');
  return { safe: text, width: points.length };
}
