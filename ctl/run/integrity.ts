import { exitStatus } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import { formatDuration, formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { bar, percent } from '../print/bar.ts';
import { columns, facts } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import { ago } from '../print/time.ts';

type Page = Answer<'system.integrity'>;
type File = Page['files'][number];
type Round = NonNullable<Page['scrub']>;

const titles = [
  { title: 'STATE' },
  { title: 'IMAGE' },
  { title: 'OF' },
  { title: 'SIZE', side: 'right' as const },
  { title: 'HASHED' },
  { title: 'SHOWN IN' },
];

/** How far a scrub is, on one line. */
export function scrubText({ asked, bytes, bytesDone, paused }: Round, call: Call): Safe {
  const { style, unicode } = call.out;
  const share = bytes === 0 ? 1 : bytesDone / bytes;
  const how = paused ? ', waits for a swap' : asked ? '' : ', in the background';
  return say`${style.cyan(bar(share, 30, unicode))} ${percent(share)} of ${formatSize(bytes)} hashed again${how}`;
}

function rowOf(
  { file, state, kind, bases, personas, ...rest }: File,
  call: Call,
): (Safe | string)[] {
  const { style } = call.out;
  const { bytes, hashedMs, sealed, problem, slots } = rest;
  const paint = { ok: style.green, due: style.yellow, damaged: style.red };
  const when = hashedMs === undefined ? 'never' : ago(hashedMs, call.io.now());
  return [
    paint[state](state),
    kind === 'layer' ? file.replace(/^.*\/(sha256-.{12}).*$/, '$1') : kind,
    [...bases, ...personas].join(', '),
    formatSize(bytes),
    say`${problem === undefined ? when : style.red(problem)}${sealed ? style.dim(' sealed') : ''}`,
    slots.join(', '),
  ];
}

const writtenTitles = [{ title: 'STATE' }, { title: 'WRITTEN IN' }, titles[3]!, { title: 'SEEN' }];

/** Images that programs write in. */
function writtenLines({ written }: Page, call: Call): Safe[] {
  const { style } = call.out;
  if (written.length === 0) return [];
  const rows = written.map(({ kind, name, bytes, mounted, problem }) => [
    problem === undefined ? style.green('ok') : style.red('damaged'),
    `${kind} ${name}`,
    formatSize(bytes),
    problem === undefined ? (mounted ? 'mounted' : 'not mounted') : style.red(problem),
  ]);
  const note =
    'what is in these has no digest: looked at is which file system it is, what errors the kernel has noted, and that the blocks of volumes are set aside';
  return [say``, ...columns(writtenTitles, rows, style), style.dim(note), say``];
}

function page(answer: Page, call: Call): Safe[] {
  const { style } = call.out;
  const { files, looked, scrub, nextMs, boot } = answer;
  const now = call.io.now();
  const look =
    looked &&
    `${looked.files} files in ${looked.tookMs.toFixed(1)} ms, ${looked.changed} not what they were`;
  return [
    ...(files.length === 0
      ? [style.dim('no images yet')]
      : columns(
          titles,
          files.map((file) => rowOf(file, call)),
          style,
        )),
    ...(scrub === undefined ? [] : [scrubText(scrub, call)]),
    ...writtenLines(answer, call),
    ...facts(
      [
        ['at the start', look],
        [
          'next look',
          nextMs === undefined ? 'off' : `in ${formatDuration(Math.max(1000, nextMs - now))}`,
        ],
        ['boot', boot.text],
      ],
      style,
    ),
  ];
}

/** `personactl system integrity`: status 8 when something is damaged. */
export async function integrity(call: Call): Promise<number> {
  const client = await call.client();
  const answer = await client.call('system.integrity', {});
  call.out.result(answer, () => page(answer, call));
  const bad =
    answer.files.some(({ state }) => state === 'damaged') ||
    answer.written.some(({ problem }) => problem !== undefined);
  return bad ? exitStatus.integrity : exitStatus.ok;
}

/** `personactl system scrub`: status 8 when something is damaged. */
export async function scrub(call: Call): Promise<number | undefined> {
  if (call.has('status')) return integrity(call);
  const { style } = call.out;
  return runChange(call, 'system.scrub', {}, (outcome) => {
    const { files, bytes, damaged } = outcome.result;
    call.out.result(outcome, () => [
      ...damaged.map(
        ({ file, problem }) => say`${style.red('damaged')}  ${file}  ${style.dim(problem)}`,
      ),
      damaged.length === 0
        ? style.green(say`${files} files, ${formatSize(bytes)}: all as they were made.`)
        : say`${style.red(`${damaged.length} damaged, ${files} files were hashed.`)} \`personactl status\` says how each comes back.`,
    ]);
    return damaged.length === 0 ? exitStatus.ok : exitStatus.integrity;
  });
}
