import type { Answer, Params } from '../../ipc/methods/index.ts';
import { formatDuration, formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { padded, type Safe, say } from '../print/safe.ts';
import { sparkline } from '../print/sparkline.ts';

type Page = Answer<'partitions.history'>;
type Field = Exclude<keyof Page['rows'][number], 'atMs'>;

const perSecond = (value: number) => `${formatSize(value)}/s`;
const share = (value: number) => `${(value * 100).toFixed(1)} %`;

/** What is drawn, how it is written, and what a full line means. */
const lines: readonly [field: Field, title: string, text: (value: number) => string][] = [
  ['availableBytes', 'available', formatSize],
  ['userBytes', 'user', formatSize],
  ['systemBytes', 'system', formatSize],
  ['swapUsedBytes', 'swap used', formatSize],
  ['waiting', 'waiting', share],
  ['userWaiting', 'user waiting', share],
  ['systemWaiting', 'system waiting', share],
  ['readBytesPerSecond', 'read', perSecond],
  ['writtenBytesPerSecond', 'written', perSecond],
  ['diskLatencyMs', 'latency', (value) => `${value.toFixed(1)} ms`],
  ['freeSpaceBytes', 'free space', formatSize],
];

/** Rows in their places: what was not seen, because nothing ran, is a gap. */
function evenly({ stepMs, rows }: Page): (Page['rows'][number] | undefined)[] {
  const [first, last] = [rows[0], rows.at(-1)];
  if (first === undefined || last === undefined) return [];
  const known = new Map(rows.map((row) => [row.atMs, row]));
  const count = Math.round((last.atMs - first.atMs) / stepMs) + 1;
  return Array.from({ length: count }, (_, index) => known.get(first.atMs + index * stepMs));
}

function page(answer: Page, { out }: Call): Safe[] {
  const rows = evenly(answer);
  const total = Math.max(0, ...answer.rows.map(({ totalBytes }) => totalBytes ?? 0));
  const width = Math.max(10, out.columns - 40);
  const drawn = lines.flatMap(([field, title, text]) => {
    const values = rows.map((row) => row?.[field]);
    const known = values.filter((value) => value !== undefined);
    const most = Math.max(...known);
    if (known.length === 0 || most === 0) return [];
    const top = field === 'availableBytes' ? total : undefined;
    const line = sparkline(values, width, out.unicode, top);
    const now = values.at(-1);
    return [
      say`${out.style.bold(padded(title, 15))} ${line}  ${now === undefined ? '' : text(now)} ${out.style.dim(`most ${text(most)}`)}`,
    ];
  });
  const span = formatDuration(rows.length * answer.stepMs);
  const step = formatDuration(answer.stepMs);
  return [...drawn, out.style.dim(`the last ${span}, a point is the mean of ${step}`)];
}

/** `personactl partitions history` */
export async function history(call: Call): Promise<undefined> {
  const step = call.text('step') as Params<'partitions.history'>['step'];
  const client = await call.client();
  const answer = await client.call('partitions.history', { ...(step !== undefined && { step }) });
  call.out.result(answer, () => {
    if (answer.rows.length > 0) return page(answer, call);
    call.out.note(say`Nothing was seen for so long yet.`);
    return [];
  });
}
