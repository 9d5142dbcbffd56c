import type { Answer } from '../../ipc/methods/index.ts';
import { formatSize, parseSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { columns, facts, indented } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import { moment } from '../print/time.ts';
import { governedText } from './partitions.ts';

type VolumePage = Answer<'volume.list'>['volumes'][number];
type VolumeName = VolumePage['name'];

const nameOf = (call: Call): VolumeName => call.operand('VOLUME') as VolumeName;

/** Whether all is well with it, in a few words. */
function stateOf({ state, problem, space }: VolumePage, { out }: Call): Safe {
  const { style } = out;
  if (state === 'broken') return style.red(problem ?? 'broken');
  if (space !== undefined && space.missingBytes > 0)
    return style.red(`${formatSize(space.missingBytes)} not set aside`);
  if (space !== undefined && space.freeBytes * 10 < space.sizeBytes)
    return style.yellow('about to be full');
  return style.green('ready');
}

const titles = ['VOLUME', 'STATE', 'SIZE', 'FREE', 'LIMIT', 'PATH'].map((title) => ({
  title,
  ...(['SIZE', 'FREE', 'LIMIT'].includes(title) && { side: 'right' as const }),
}));

/** `personactl volume list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('volume.list', {});
  call.out.result(answer, () => {
    if (answer.volumes.length === 0) {
      call.out.note(say`No volumes: \`personactl volume create user --size SIZE\` makes one.`);
      return [];
    }
    const rows = answer.volumes.map((volume) => [
      volume.name,
      stateOf(volume, call),
      volume.space === undefined ? '' : formatSize(volume.space.sizeBytes),
      volume.space === undefined ? '' : formatSize(volume.space.freeBytes),
      formatSize(volume.limitBytes),
      volume.at,
    ]);
    const { style } = call.out;
    return [...columns(titles, rows, style), governedText(answer.governed, style)];
  });
}

function pageLines(volume: VolumePage, call: Call): Safe[] {
  const { style } = call.out;
  const { space } = volume;
  return [
    style.bold(volume.name),
    ...indented(
      facts(
        [
          ['state', stateOf(volume, call)],
          ['size', space && formatSize(space.sizeBytes)],
          ['free', space && formatSize(space.freeBytes)],
          ['limit', formatSize(volume.limitBytes)],
          ['on the disk', space && `${formatSize(space.ownedBytes)} set aside`],
          ['path', volume.at],
          ['image', volume.image],
          ['direct I/O', space && (space.directIo ? 'yes' : 'no')],
          ['discards', space && (space.keepsBlocks ? 'off' : 'the kernel may give blocks back')],
          ['made', moment(volume.createdMs)],
        ],
        style,
      ),
    ),
  ];
}

/** `personactl volume show` */
export async function show(call: Call): Promise<undefined> {
  const client = await call.client();
  const { volumes } = await client.call('volume.list', {});
  const volume = volumes.find(({ name }) => name === nameOf(call));
  if (volume === undefined) {
    const { PersonaError } = await import('../../ipc/errors.ts');
    throw new PersonaError('volume-not-found', { volume: nameOf(call) });
  }
  call.out.result({ volume }, () => pageLines(volume, call));
}

/** `personactl volume create` */
export async function create(call: Call): Promise<number | undefined> {
  const limit = call.text('limit');
  const params = {
    name: nameOf(call),
    bytes: parseSize(call.text('size') ?? ''),
    ...(limit !== undefined && { limitBytes: parseSize(limit) }),
  };
  return runChange(call, 'volume.create', params, (outcome) => {
    const { volume } = outcome.result;
    call.out.done(outcome, () => [
      say`Volume ${call.out.style.bold(volume.name)} is there: ${volume.at}`,
    ]);
    return undefined;
  });
}

/** `personactl volume resize` */
export async function resize(call: Call): Promise<number | undefined> {
  const params = { name: nameOf(call), bytes: parseSize(call.operand('SIZE')) };
  return runChange(call, 'volume.resize', params, (outcome) => {
    const { name, space } = outcome.result.volume;
    const size = formatSize(space?.sizeBytes ?? 0);
    const free = formatSize(space?.freeBytes ?? 0);
    call.out.done(outcome, () => [say`Volume ${name} has ${size} now, ${free} free.`]);
    return undefined;
  });
}

/** `personactl volume rm` */
export async function remove(call: Call): Promise<number | undefined> {
  const params = { name: nameOf(call), ...(call.has('discard') && { discard: true }) };
  return runChange(call, 'volume.rm', params, (outcome) => {
    const { name, freedBytes } = outcome.result;
    call.out.done(outcome, () => [say`Removed volume ${name}, ${formatSize(freedBytes)} freed.`]);
    return undefined;
  });
}
