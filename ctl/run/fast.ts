import type { FastPage } from '../../ipc/methods/shapes.ts';
import { formatSize, parseSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { columns } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { ago } from '../print/time.ts';

const mediumNames = ['ram', 'zram', 'nvme', 'auto'] as const;

function mediumOf(call: Call): (typeof mediumNames)[number] {
  const word = call.text('on');
  const medium = mediumNames.find((one) => one === word);
  if (medium === undefined) throw new Error(`the parser let ${word} through`);
  return medium;
}

const groundText = ({ on, volume }: FastPage): string =>
  volume === undefined ? on : `${on}, volume ${volume}`;

/** `personactl fast create` */
export async function create(call: Call): Promise<number | undefined> {
  const volume = call.text('volume') as FastPage['volume'];
  const params = {
    name: call.name('NAME'),
    bytes: parseSize(call.text('size') ?? ''),
    on: mediumOf(call),
    ...(volume !== undefined && { volume }),
  };
  return runChange(call, 'fast.create', params, (outcome) => {
    const { style } = call.out;
    const { partition, choice } = outcome.result;
    const why = choice === undefined ? [] : [style.dim(say`Measured now: ${choice.why}`)];
    if (partition === undefined) {
      call.out.done(outcome, () => [
        say`No fast partition was made: nothing would be gained.`,
        ...why,
      ]);
      return undefined;
    }
    const { name, bytes, path, swaps } = partition;
    call.out.done(outcome, () => [
      say`Fast partition ${style.bold(name)}, ${formatSize(bytes)} on ${groundText(partition)}, is there: ${path}`,
      ...why,
      style.dim(say`What it holds is lost when the machine is restarted.`),
      ...(swaps === true
        ? [style.yellow(say`This kernel may move it to swap: Linux 6.4 or newer would not.`)]
        : []),
    ]);
    return undefined;
  });
}

const titles = [
  ...['NAME', 'ON', 'OWNER'].map((title) => ({ title })),
  ...['SIZE', 'USED', 'MEMORY'].map((title) => ({ title, side: 'right' as const })),
  ...['STATE', 'EMPTY SINCE', 'PATH', ''].map((title) => ({ title })),
];

function stateText({ state, swaps }: FastPage, style: Style): Safe {
  if (state === 'missing') return style.red(state);
  if (state === 'ending') return style.yellow(state);
  return swaps === true ? style.yellow('may be swapped') : style.green(state);
}

/** `personactl fast list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('fast.list', {});
  const { style } = call.out;
  call.out.result(answer, () => {
    if (answer.partitions.length === 0) {
      call.out.note(
        say`No fast partitions: \`personactl fast create NAME --size SIZE --on ram\` makes one.`,
      );
      return [];
    }
    const now = call.io.now();
    const rows = answer.partitions.map((one) => [
      style.bold(one.name),
      groundText(one),
      one.owner.name ?? `uid ${one.owner.uid}`,
      formatSize(one.bytes),
      formatSize(one.usedBytes),
      one.on !== 'zram' ? '' : formatSize(one.memoryBytes),
      stateText(one, style),
      ago(one.emptiedMs ?? one.createdMs, now),
      one.path,
      one.problem === undefined ? '' : style.red(one.problem),
    ]);
    return columns(titles, rows, style);
  });
}

/** `personactl fast resize` */
export async function resize(call: Call): Promise<number | undefined> {
  const params = { name: call.name('NAME'), bytes: parseSize(call.text('size') ?? '') };
  return runChange(call, 'fast.resize', params, (outcome) => {
    const { name, bytes, usedBytes } = outcome.result.partition;
    call.out.done(outcome, () => [
      say`Fast partition ${call.out.style.bold(name)} has ${formatSize(bytes)} now, ${formatSize(usedBytes)} used.`,
    ]);
    return undefined;
  });
}

/** `personactl fast rm` */
export async function remove(call: Call): Promise<number | undefined> {
  return runChange(call, 'fast.rm', { name: call.name('NAME') }, (outcome) => {
    call.out.done(outcome, () => [say`Removed fast partition ${outcome.result.name}.`]);
    return undefined;
  });
}
