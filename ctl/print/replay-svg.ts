import { escapeText } from '../../ipc/values.ts';
import type { ReplayPage, ReplayPlot } from './replay-lines.ts';

const WIDTH = 900;
const HEIGHT = 150;
const LEFT = 120;
const GAP = 34;
const RIGHT = 16;

const colors = { user: '#2e7d32', system: '#1565c0', short: '#c62828' };

/** Text as it may stand in XML: what came from elsewhere is shown, never read. */
const xml = (text: string): string =>
  escapeText(text).replace(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`);

const point = (index: number, count: number, share: number, top: number): string => {
  const x = LEFT + (index / Math.max(1, count - 1)) * (WIDTH - LEFT - RIGHT);
  return `${x.toFixed(1)},${(top + HEIGHT * (1 - share)).toFixed(1)}`;
};

function line(values: readonly number[], top: number, style: string): string {
  const points = values.map((share, index) => point(index, values.length, share, top));
  return `<polyline fill="none" ${style} points="${points.join(' ')}"/>`;
}

/** One policy: what both sides have (lines), their protections (dots), their limits (dashes), avoidable shortage (red). */
function panel({ policy, used, low, high, avoidable }: ReplayPlot, top: number): string {
  const parts = [
    `<rect x="${LEFT}" y="${top}" width="${WIDTH - LEFT - RIGHT}" height="${HEIGHT}" fill="#fafafa" stroke="#bbb"/>`,
    `<text x="8" y="${top + 16}" font-weight="bold">${xml(policy)}</text>`,
    `<text x="${LEFT - 6}" y="${top + 10}" text-anchor="end" fill="#777">100 %</text>`,
    `<text x="${LEFT - 6}" y="${top + HEIGHT}" text-anchor="end" fill="#777">0</text>`,
  ];
  for (const side of ['user', 'system'] as const) {
    const stroke = `stroke="${colors[side]}"`;
    const limited = high[side].some((share) => share < 1);
    parts.push(line(low[side], top, `${stroke} stroke-dasharray="1 3"`));
    if (limited)
      parts.push(line(high[side], top, `${stroke} stroke-dasharray="6 3" opacity="0.6"`));
    parts.push(line(used[side], top, `${stroke} stroke-width="1.5"`));
  }
  const short = avoidable.map((share) => Math.min(1, share * 50));
  parts.push(line(short, top, `stroke="${colors.short}"`));
  return parts.join('\n');
}

/** The plots of a replay as one SVG document. */
export function replaySvg({ scenario, model, hours, plots }: ReplayPage): string {
  const height = 60 + plots.length * (HEIGHT + GAP);
  const panels = plots.map((plot, index) => panel(plot, 50 + index * (HEIGHT + GAP)));
  const key = [
    `<tspan fill="${colors.user}">user</tspan>`,
    `<tspan fill="${colors.system}">system</tspan>`,
    `<tspan fill="${colors.short}">avoidable shortage (2 % of the memory = full height)</tspan>`,
    'dots: protection, dashes: limit',
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="18" font-size="14">${xml(`${scenario}, ${hours} h, ${model}`)}</text>
<text x="8" y="36">${key.join(' · ')}</text>
${panels.join('\n')}
</svg>
`;
}
