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

const steps = { unicode: ' ▁▂▃▄▅▆▇█', ascii: ' .:-=+*#%@' };

/** Values (0 to 1) as one line of this width; a column shows the greatest of its values. */
export function peakline(values: readonly number[], width: number, unicode: boolean): Safe {
  const marks = [...(unicode ? steps.unicode : steps.ascii)];
  const length = Math.min(width, values.length);
  let text = '';
  for (let column = 0; column < length; column++) {
    const from = Math.floor((column * values.length) / length);
    const to = Math.max(from + 1, Math.floor(((column + 1) * values.length) / length));
    const most = Math.max(...values.slice(from, to));
    const step = Math.ceil(Math.min(1, Math.max(0, most)) * (marks.length - 1));
    text += marks[step] ?? ' ';
  }
  return { safe: text, width: length };
}
