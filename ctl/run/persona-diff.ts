import type { Answer } from '../../ipc/methods/index.ts';
import type { Difference } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { padded, type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';

type Page = Answer<'persona.diff'>;

const marks = { added: '+', removed: '-', changed: '~' } as const;

function sizeText({ op, bytesBefore, bytesAfter }: Difference): string {
  if (op === 'added') return bytesAfter === undefined ? '' : formatSize(bytesAfter);
  if (op === 'removed') return bytesBefore === undefined ? '' : formatSize(bytesBefore);
  if (bytesBefore === undefined || bytesAfter === undefined) return '';
  if (bytesBefore === bytesAfter) return formatSize(bytesAfter);
  const delta = bytesAfter - bytesBefore;
  return `${delta > 0 ? '+' : ''}${formatSize(delta)}`;
}

function differenceLine(one: Difference, style: Style): Safe {
  const paint = { added: style.green, removed: style.red, changed: style.yellow }[one.op];
  const kind = one.type === 'file' ? '' : ` (${one.type})`;
  const what = one.what && one.what.length > 0 ? `  ${one.what.join(', ')}` : '';
  const path = one.path.startsWith('/') ? one.path : `/${one.path}`;
  return say`${paint(say`${marks[one.op]} ${padded(sizeText(one), 9, 'right')}  ${path}`)}${style.dim(say`${kind}${what}`)}`;
}

/** A folder's time changes with everything in it: no news for a reader. */
const isNews = ({ type, what }: Difference): boolean =>
  type !== 'dir' || what?.length !== 1 || what[0] !== 'time';

function totalsLine({ totals }: Page, style: Style): Safe {
  const { added, removed, changed, bytesAdded, bytesRemoved } = totals;
  if (added + removed + changed === 0) return style.dim('No difference.');
  return say`${style.green(`${added} added`)}, ${style.red(`${removed} removed`)}, ${style.yellow(`${changed} changed`)}; ${formatSize(bytesAdded)} more, ${formatSize(bytesRemoved)} less`;
}

/**
 * `personactl persona diff`: pages of the daemon one after the other. With --json one object per
 * difference and line, then one with the totals.
 */
export async function diff(call: Call): Promise<undefined> {
  const client = await call.client();
  const under = call.text('under');
  const params = {
    from: call.reference('A'),
    to: call.reference('B'),
    ...(under !== undefined && { under: under.startsWith('/') ? under : `/${under}` }),
  };
  const { style } = call.out;
  let left = 0;
  let page = await client.call('persona.diff', params);
  for (;;) {
    const { differences, more } = page;
    if (call.out.json)
      for (const one of differences) call.out.stream({ difference: one }, () => []);
    else {
      const shown = call.has('all') ? differences : differences.filter(isNews);
      left += differences.length - shown.length;
      call.out.lines(shown.map((one) => differenceLine(one, style)));
    }
    const last = differences.at(-1);
    if (!more || last === undefined) break;
    page = await client.call('persona.diff', { ...params, after: last.path });
  }
  call.out.stream({ totals: page.totals }, () => [totalsLine(page, style)]);
  const folders = left === 1 ? 'folder' : 'folders';
  if (left > 0)
    call.out.note(say`Not listed: ${left} ${folders} with nothing new but the time (--all).`);
}
