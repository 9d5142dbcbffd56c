import type { Answer, Params } from '../../ipc/methods/index.ts';
import { formatDuration, formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { padded, type Safe, say } from '../print/safe.ts';
import { sparkline } from '../print/sparkline.ts';

type Page = Answer<'partitions.history'>;
type Row = Page['rows'][number];
type Field = Exclude<keyof Row, 'atMs' | 'disks'>;
type DiskField = Exclude<keyof NonNullable<Row['disks']>[number], 'name'>;

const perSecond = (value: number) => `${formatSize(value)}/s`;
const each = (value: number) => `${value.toFixed(0)}/s`;
const ms = (value: number) => `${value.toFixed(1)} ms`;
const few = (value: number) => value.toFixed(1);
const share = (value: number) => `${(value * 100).toFixed(1)} %`;

/** What is drawn, how it is written, and what a full line means. */
const fields: readonly [field: Field, title: string, text: (value: number) => string][] = [
  ['availableBytes', 'available', formatSize],
  ['userBytes', 'user', formatSize],
  ['systemBytes', 'system', formatSize],
  ['swapUsedBytes', 'swap used', formatSize],
  ['waiting', 'waiting', share],
  ['userWaiting', 'user waiting', share],
  ['systemWaiting', 'system waiting', share],
  ['userIoWaiting', 'user io wait', share],
  ['systemIoWaiting', 'system io wait', share],
  ['readBytesPerSecond', 'read', perSecond],
  ['writtenBytesPerSecond', 'written', perSecond],
  ['diskRequestsPerSecond', 'requests', each],
  ['diskLatencyMs', 'latency', ms],
  ['diskInFlight', 'in flight', few],
  ['freeSpaceBytes', 'free space', formatSize],
];

/** The same of each disk, where there are several. */
const diskFields: readonly [field: DiskField, title: string, text: (value: number) => string][] = [
  ['readBytesPerSecond', 'read', perSecond],
  ['writtenBytesPerSecond', 'written', perSecond],
  ['latencyMs', 'latency', ms],
  ['inFlight', 'in flight', few],
];

/** Rows in their places: what was not seen, because nothing ran, is a gap. */
function evenly({ stepMs, rows }: Page): (Row | undefined)[] {
  const [first, last] = [rows[0], rows.at(-1)];
  if (first === undefined || last === undefined) return [];
  const known = new Map(rows.map((row) => [row.atMs, row]));
  const count = Math.round((last.atMs - first.atMs) / stepMs) + 1;
  return Array.from({ length: count }, (_, index) => known.get(first.atMs + index * stepMs));
}

/** One line of the page: its values in their places. */
interface Line {
  title: string;
  values: (number | undefined)[];
  text: (value: number) => string;
  top?: number;
}

/** The lines of this page that have something on them. */
function linesOf(answer: Page): Line[] {
  const rows = evenly(answer);
  const total = Math.max(0, ...answer.rows.map(({ totalBytes }) => totalBytes ?? 0));
  const names = new Set(answer.rows.flatMap(({ disks = [] }) => disks.map(({ name }) => name)));
  const ofAll = fields.map(([field, title, text]) => ({
    title,
    values: rows.map((row) => row?.[field]),
    text,
    ...(field === 'availableBytes' && { top: total }),
  }));
  const ofEach = [...(names.size > 1 ? names : [])].flatMap((disk) => {
    const here = rows.map((row) => row?.disks?.find(({ name }) => name === disk));
    return diskFields.map(([field, title, text]) => ({
      title: `${disk} ${title}`,
      values: here.map((one) => one?.[field]),
      text,
    }));
  });
  return [...ofAll, ...ofEach].filter(({ values }) => values.some((value) => value));
}

function page(answer: Page, { out }: Call): Safe[] {
  const lines = linesOf(answer);
  const wide = Math.max(15, ...lines.map(({ title }) => title.length));
  const width = Math.max(10, out.columns - wide - 25);
  const drawn = lines.map(({ title, values, text, top }) => {
    const most = Math.max(...values.filter((value) => value !== undefined));
    const line = sparkline(values, width, out.unicode, top);
    const now = values.at(-1);
    return say`${out.style.bold(padded(title, wide))} ${line}  ${now === undefined ? '' : text(now)} ${out.style.dim(`most ${text(most)}`)}`;
  });
  const span = formatDuration(evenly(answer).length * answer.stepMs);
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
