import type { Answer } from '../../ipc/methods/index.ts';
import { formatDuration, formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { bar, percent } from '../print/bar.ts';
import { changeLineText } from '../print/change-lines.ts';
import { columns, indented } from '../print/columns.ts';
import { remark } from '../print/remark.ts';
import { joined, padded, type Safe, say } from '../print/safe.ts';
import { servedLines } from '../print/served-lines.ts';
import { slotCells, slotRemarks, slotTitles } from '../print/slot-lines.ts';
import { sparkline } from '../print/sparkline.ts';
import { scrubText } from './integrity.ts';
import { choiceText, memoryBar } from './partitions.ts';

type Status = Answer<'daemon.status'>;

const empty: Safe = { safe: '', width: 0 };

function headLines({ daemon, machine }: Status, { out, io }: Call): Safe[] {
  const { style } = out;
  const paint = {
    ready: style.green,
    starting: style.yellow,
    degraded: style.red,
    stopping: style.yellow,
  };
  const up = `up ${formatDuration(Math.max(1000, io.now() - daemon.startedMs))}`;
  const where = [machine.hostName, machine.os, `Linux ${machine.kernel}`].filter(
    (one) => one !== undefined,
  );
  const dot = out.unicode ? ' · ' : ', ';
  const state = paint[daemon.state](out.unicode ? say`● ${daemon.state}` : daemon.state);
  const lines = [
    joined([say`${style.bold('personad')} ${daemon.version}`, state, up], dot),
    style.dim(joined(where, dot)),
  ];
  if (daemon.reason) lines.push(say`${style.red('Reason')}  ${daemon.reason}`);
  return lines;
}

function slotLines({ slots, caller, counts }: Status, { out, io }: Call): Safe[] {
  if (slots.length === 0 && counts.slots > 0)
    return [out.style.dim(`none of yours, ${counts.slots} of others`)];
  if (slots.length === 0)
    return [out.style.dim('none yet: `personactl slot create NAME` makes one')];
  const rows = slots.map((slot) => slotCells(slot, io.now(), caller.uid, out.style));
  const [titles, ...lines] = columns(slotTitles, rows, out.style);
  const text = lines.flatMap((line, index) => {
    const slot = slots[index];
    return slot ? [line, ...indented(slotRemarks(slot, out.style), 4)] : [line];
  });
  return [titles ?? empty, ...text];
}

function spaceLines({ space, counts, daemon }: Status, { out }: Call): Safe[] {
  const { style } = out;
  const used = 1 - space.freeBytes / Math.max(1, space.totalBytes);
  const usable = space.freeBytes - space.reserveBytes;
  const paint = usable <= 0 ? style.red : used > 0.85 ? style.yellow : style.green;
  const left = space.volume ? ` with ${formatSize(space.volume.freeBytes)} free` : '';
  const uppers = space.uppers === 'loop-volume' ? `, written data in a loop volume${left}` : '';
  const things = [
    [counts.bases, 'base'],
    [counts.personas, 'persona'],
    [counts.slots, 'slot'],
  ] as const;
  const counted = things.map(([count, name]) => `${count} ${name}${count === 1 ? '' : 's'}`);
  return [
    say`${paint(bar(used, 30, out.unicode))} ${percent(used)} used, ${formatSize(space.freeBytes)} free of ${formatSize(space.totalBytes)} (${formatSize(space.reserveBytes)} kept back)`,
    style.dim(say`${counted.join(', ')}; ${daemon.stateFolder} on ${space.fileSystem}${uppers}`),
  ];
}

/** How the bar above came about; nothing before there are two points. */
function recentLine(recent: NonNullable<Status['memory']>['recent'], { out }: Call): Safe[] {
  const used = (recent?.used ?? []).map((part) => part ?? undefined);
  if (recent === undefined || used.length < 2) return [];
  const span = formatDuration(used.length * recent.stepMs);
  return [say`${sparkline(used, 30, out.unicode, 1)} ${out.style.dim(`used in the last ${span}`)}`];
}

function memoryLines({ memory }: Status, call: Call): Safe[] {
  if (memory === undefined) return [];
  const { style } = call.out;
  const sides = [
    ['user', memory.userBytes],
    ['system', memory.systemBytes],
  ] as const;
  const known = sides.flatMap(([name, bytes]) =>
    bytes === undefined ? [] : [`${name} ${formatSize(bytes)}`],
  );
  const waits = memory.waiting ? [`waiting ${(memory.waiting * 100).toFixed(1)} %`] : [];
  return [
    memoryBar(memory, call),
    ...recentLine(memory.recent, call),
    style.dim(joined([...known, ...waits, choiceText(memory, style)], '; ')),
  ];
}

/** Images are silent while all is well. */
function imageLines({ integrity }: Status, call: Call): Safe[] {
  if (integrity === undefined) return [];
  const { damaged, files, scrub } = integrity;
  return [
    ...(damaged > 0 ? [call.out.style.red(say`${damaged} of ${files} files are damaged`)] : []),
    ...(scrub === undefined ? [] : [scrubText(scrub, call)]),
  ];
}

function changeLines({ changes }: Status, call: Call): Safe[] {
  return changes.map((change) => changeLineText(change, call.out, call.io.now()));
}

function fallbackLines({ fallbacks }: Status, { out }: Call): Safe[] {
  const width = Math.max(0, ...fallbacks.map(({ capability }) => capability.length));
  return fallbacks.flatMap(({ capability, using, reason }) =>
    remark(padded(capability, width + 2), `${using} (${reason})`, out),
  );
}

function inMemoryLines({ inMemory = [] }: Status, { out, io }: Call): Safe[] {
  return inMemory.length === 0 ? [] : servedLines(inMemory, out, io.now());
}

function pinnedLines({ pinned = [] }: Status, { out }: Call): Safe[] {
  if (pinned.length === 0) return [];
  const titles = ['APPLICATION', 'OWNER', 'FILES', 'SIZE'].map((title) => ({ title }));
  const rows = pinned.map(({ app, owner, files, bytes }) => [
    out.style.bold(app),
    owner.name ?? `${owner.uid}`,
    `${files}`,
    formatSize(bytes),
  ]);
  return columns(titles, rows, out.style);
}

function runningLines({ running }: Status, { out, io }: Call): Safe[] {
  if (running === undefined) return [];
  const { style } = out;
  const titles = ['APPLICATION', 'OWNER', 'PROFILE', 'IN', 'IN MEMORY ONLY', 'BECAUSE'];
  const rows = running.applications.map(({ savedMs, ...one }) => [
    style.bold(one.app),
    one.owner.name ?? `${one.owner.uid}`,
    one.profile,
    one.partition,
    savedMs === undefined ? '' : `the last ${formatDuration(Math.max(0, io.now() - savedMs))}`,
    one.reason,
  ]);
  const lines = columns(
    titles.map((title) => ({ title })),
    rows,
    style,
  );
  return running.more === 0
    ? lines
    : [...lines, style.dim(say`and ${running.more} more: personactl app running`)];
}

function noticeLines({ notices }: Status, { out }: Call): Safe[] {
  return notices.flatMap(({ text, command }) => [
    ...remark(say``, text, out),
    ...(command === undefined ? [] : [say`    ${out.style.cyan(command)}`]),
  ]);
}

/** The status page: sections that have nothing to say are left out, but slots and space. */
function page(status: Status, call: Call): Safe[] {
  const section = (title: string, lines: Safe[]): Safe[] =>
    lines.length === 0 ? [] : [empty, call.out.style.bold(title), ...indented(lines)];
  return [
    ...headLines(status, call),
    ...section('Slots', slotLines(status, call)),
    ...section('Changes', changeLines(status, call)),
    ...section('Memory', memoryLines(status, call)),
    ...section('Running applications', runningLines(status, call)),
    ...section('Applications in memory', inMemoryLines(status, call)),
    ...section('Programs kept in memory', pinnedLines(status, call)),
    ...section('Space', spaceLines(status, call)),
    ...section('Images', imageLines(status, call)),
    ...section('Fallbacks in use', fallbackLines(status, call)),
    ...section('Needs attention', noticeLines(status, call)),
  ];
}

/** `personactl status` */
export async function status(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('daemon.status', {});
  call.out.result(answer, () => page(answer, call));
}
