import type { Answer, Params } from '../../ipc/methods/index.ts';
import type { Decision, SidePage } from '../../ipc/methods/shapes.ts';
import { formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { bar, percent } from '../print/bar.ts';
import { columns, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { ago } from '../print/time.ts';
import { usageError } from '../usage-error.ts';
import { shareNames, wantedShares } from './wanted-shares.ts';

type Page = Answer<'partitions.show'>;
type SpaceDecision = NonNullable<Answer<'partitions.explain'>['space']>['moves'][number];
type Choice = Pick<Page, 'mode' | 'managed' | 'obstacle' | 'policy'>;

const right = (title: string) => ({ title, side: 'right' as const });
const left = (title: string) => ({ title });

const amount = (value: number | 'max'): string => (value === 'max' ? 'none' : formatSize(value));
/** Shares of the time are small where all is well. */
const waited = (share: number | undefined): string =>
  share === undefined ? '' : `${(share * 100).toFixed(1)} %`;

/** Whether something is set on this machine, and by which policy. */
export function choiceText({ mode, managed, obstacle, policy }: Choice, style: Style): Safe {
  if (managed) return say`${style.bold(policy)}, ${style.green('managing')}`;
  if (mode === 'observe') return say`${style.bold(policy)}, observing only: nothing is set`;
  return say`${style.bold(policy)}, ${style.yellow('not managing')}: ${obstacle ?? 'not yet'}`;
}

/** How full the machine's memory is, as one line. */
export function memoryBar(
  { totalBytes, availableBytes }: Pick<Page, 'totalBytes' | 'availableBytes'>,
  { out }: Call,
): Safe {
  const { style } = out;
  const used = 1 - availableBytes / Math.max(1, totalBytes);
  const paint = used > 0.95 ? style.red : used > 0.85 ? style.yellow : style.green;
  return say`${paint(bar(used, 30, out.unicode))} ${percent(used)} used, ${formatSize(availableBytes)} available of ${formatSize(totalBytes)}`;
}

function sideRow(one: SidePage, style: Style) {
  const { side, group, present, currentBytes, anonBytes, swapBytes, low, high } = one;
  const size = (bytes: number | undefined) => (bytes === undefined ? '' : formatSize(bytes));
  if (!present) return [style.bold(side), group, style.dim('not there')];
  return [
    style.bold(side),
    group,
    size(currentBytes),
    size(anonBytes),
    swapBytes === 0 ? '' : size(swapBytes),
    waited(one.waiting),
    waited(one.ioWaiting),
    low === undefined ? '' : low === 0 ? 'none' : amount(low),
    high === undefined ? '' : amount(high),
  ];
}

const sideTitles = [
  ...['SIDE', 'CGROUP'].map(left),
  ...['USED', 'PROCESSES', 'SWAP', 'WAITING', 'IO WAIT', 'PROTECTED', 'LIMIT'].map(right),
];

function diskRow({ name, nvme, bytes, rates }: Page['disks'][number], by: string, style: Style) {
  const kind = nvme ? 'NVMe' : 'disk';
  if (rates === undefined)
    return [style.bold(name), kind, formatSize(bytes), '', '', '', '', '', by];
  return [
    style.bold(name),
    kind,
    formatSize(bytes),
    `${formatSize(rates.readBytesPerSecond)}/s`,
    `${formatSize(rates.writtenBytesPerSecond)}/s`,
    rates.latencyMs === undefined ? '' : `${rates.latencyMs.toFixed(1)} ms`,
    String(rates.inFlight),
    percent(rates.busy),
    by,
  ];
}

/** Who gives the requests of a disk their turn by weights; empty where no weights are asked for. */
function sharedBy({ io }: Page, disk: string): string {
  if (io === undefined || io.weights.user + io.weights.system === 0) return '';
  return io.disks.find(({ name }) => name === disk)?.by ?? '';
}

const diskTitles = [
  ...['DISK', 'KIND'].map(left),
  ...['SIZE', 'READ', 'WRITTEN', 'LATENCY', 'IN FLIGHT', 'BUSY'].map(right),
  left('SHARED BY'),
];

/** Whether space changes sides, and by which policy. */
export function governedText(
  { on, policy, obstacle }: { on: boolean; policy: string; obstacle?: string | undefined },
  style: Style,
): Safe {
  if (!on)
    return say`the sizes of volumes stay as they are (volumes.govern = "on" has them governed)`;
  if (obstacle === undefined) return say`${style.bold(policy)} moves space between the volumes`;
  return say`${style.bold(policy)}, ${style.yellow('no space is moved')}: ${obstacle}`;
}

const volumeTitles = [left('VOLUME'), ...['SIZE', 'USED', '', 'LIMIT'].map(right)];

function spaceLines(space: NonNullable<Page['space']>, style: Style): Safe[] {
  const rows = space.sides.map(({ side, sizeBytes, usedBytes, mostBytes }) => [
    style.bold(side),
    formatSize(sizeBytes),
    formatSize(usedBytes),
    percent(usedBytes / Math.max(1, sizeBytes)),
    formatSize(mostBytes),
  ]);
  return [say``, ...columns(volumeTitles, rows, style), governedText(space, style)];
}

type Shares = NonNullable<Page['shares']>;

/** The parts of both sides. */
const partsText = ({ user, least, most }: Shares): Safe =>
  say`parts: user ${user} %, system ${100 - user} %, each from ${least} to ${most} %`;

/** Where `threshold` changes them. */
const stepText = ({ grow, shrink, step }: Shares): Safe =>
  say`threshold: ${step} % more above ${grow} % of a part, less below ${shrink} % of it`;

/** The page of `partitions show`. */
export function partitionsPage(answer: Page, call: Call): Safe[] {
  const { style } = call.out;
  const { sides, disks, leases, theirs, remarks } = answer;
  const { swapTotalBytes: swap, swapFreeBytes } = answer;
  const swapText =
    swap === 0 ? 'no swap' : `swap ${formatSize(swap - swapFreeBytes)} of ${formatSize(swap)}`;
  const waits = answer.waiting === undefined ? '' : `, waiting ${waited(answer.waiting)}`;
  const lines = [
    say`${memoryBar(answer, call)}; ${swapText}${waits}`,
    choiceText(answer, style),
    ...(answer.shares === undefined ? [] : [style.dim(partsText(answer.shares))]),
    say``,
    ...columns(
      sideTitles,
      sides.map((one) => sideRow(one, style)),
      style,
    ),
  ];
  if (disks.length > 0)
    lines.push(
      say``,
      ...columns(
        diskTitles,
        disks.map((one) => diskRow(one, sharedBy(answer, one.name), style)),
        style,
      ),
    );
  if (answer.space !== undefined) lines.push(...spaceLines(answer.space, style));
  if (leases.length > 0) {
    const titles = [...['CGROUP', 'SET NOW', 'TO', 'BEFORE', 'BY'].map(left)];
    const rows = leases.map(({ group, knob, value, old, by }) => [
      group,
      knob,
      knobText(knob, value),
      knobText(knob, old),
      by,
    ]);
    lines.push(say``, ...columns(titles, rows, style));
  }
  for (const { side, knob, value } of theirs)
    lines.push(
      say`${style.yellow('!')} ${knob} of ${side} is ${amount(value)}, set by another program: left alone`,
    );
  for (const remark of remarks) lines.push(say`${style.yellow('!')} ${remark}`);
  return lines;
}

/** A knob's text as people read it: of io.cost the switch; the rest is in `--json`. Version 1 of control groups says no limit by a number, or by -1. */
function knobText(knob: string, value: string): string {
  if (knob.startsWith('io.cost.qos')) return value.startsWith('enable=1') ? 'on' : 'off';
  if (!knob.startsWith('memory.')) return value;
  if (value === 'max' || value === '-1' || /^\d{16,}$/.test(value)) return 'none';
  return /^\d+$/.test(value) ? formatSize(Number(value)) : value;
}

/** `personactl partitions show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('partitions.show', {});
  call.out.result(answer, () => partitionsPage(answer, call));
}

const outcome: Record<Decision['writes'][number]['state'], string> = {
  written: 'done',
  unchanged: 'as it was',
  foreign: 'another program has set it: left alone',
  theirs: 'another program has set it: left alone',
  blocked: 'the kernel is still making room',
  refused: 'refused',
  'only-observed': 'not done: observing only',
};

function decisionLines(one: Decision, call: Call): Safe[] {
  const { style } = call.out;
  const head = say`${style.bold(one.policy)} ${style.dim(ago(one.atMs, call.io.now()))}`;
  const writes = one.writes.map(({ side, knob, value, state, detail }) => {
    const what = value === 0 ? 'none' : amount(value);
    const more = detail === undefined || state === 'theirs' ? '' : ` (${detail})`;
    return say`${side} ${knob} -> ${what}: ${outcome[state]}${more}`;
  });
  const nothing = writes.length === 0 ? [style.dim('nothing to set')] : [];
  return [head, ...indented([...whyLines(one.why, style), ...writes, ...nothing])];
}

/** The last one, and with `--all` those before it that changed something. */
function shownOf<One extends { atMs: number }>(
  { last, moves }: { last?: One | undefined; moves: readonly One[] },
  all: boolean,
): One[] {
  if (last === undefined) return [];
  const earlier = moves.filter(({ atMs }) => atMs !== last.atMs).reverse();
  return all ? [last, ...earlier] : [last];
}

function whyLines(why: Decision['why'], style: Style): Safe[] {
  return why.map(({ rule, side, text }) =>
    side === undefined
      ? say`${style.cyan(rule)}  ${text}`
      : say`${style.cyan(rule)}  ${side}: ${text}`,
  );
}

function spaceDecisionLines(one: SpaceDecision, call: Call): Safe[] {
  const { style } = call.out;
  const { move } = one;
  const head = say`${style.bold(one.policy)} on the volumes ${style.dim(ago(one.atMs, call.io.now()))}`;
  const change = move?.change === undefined ? '' : `, change ${move.change}`;
  const detail = move?.detail === undefined ? '' : ` (${move.detail})`;
  const moved =
    move === undefined
      ? style.dim('nothing to move')
      : say`${formatSize(move.bytes)} from ${move.from} to ${move.to}: ${move.state}${change}${detail}`;
  return [head, ...indented([...whyLines(one.why, style), moved])];
}

/** `personactl partitions explain` */
export async function explain(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('partitions.explain', {});
  call.out.result(answer, () => {
    const all = call.has('all');
    const { space = { moves: [] } } = answer;
    const lines = [
      ...shownOf(answer, all).flatMap((one) => decisionLines(one, call)),
      ...shownOf(space, all).flatMap((one) => spaceDecisionLines(one, call)),
    ];
    if (lines.length === 0) call.out.note(say`Nothing was decided yet.`);
    return lines;
  });
}

/** `personactl partitions policy` */
export async function policy(call: Call): Promise<undefined> {
  const name = call.given('POLICY');
  const mode = call.text('mode') as Params<'partitions.policy'>['mode'];
  if (name === undefined && mode === undefined)
    throw usageError('it needs a policy or --mode', call.command.name);
  const client = await call.client();
  const answer = await client.call('partitions.policy', {
    ...(name !== undefined && { policy: name }),
    ...(mode !== undefined && { mode }),
  });
  call.out.done(answer, () => [
    choiceText(answer, call.out.style),
    ...answer.returned.map(({ group, knob, state }) => say`${group} ${knob}: ${state}`),
  ]);
}

/** `personactl partitions set` */
export async function set(call: Call): Promise<undefined> {
  const wanted = wantedShares(call);
  if (wanted === undefined)
    throw usageError(`it needs one of --${shareNames.join(', --')}`, call.command.name);
  const client = await call.client();
  const answer = await client.call('partitions.set', wanted);
  call.out.done(answer, () => [partsText(answer.shares), stepText(answer.shares)]);
}
