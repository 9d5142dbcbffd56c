import { randomUUID } from 'node:crypto';
import { PersonaError } from '../../ipc/errors.ts';
import { checkName, formatSize } from '../../ipc/values.ts';
import type { Plan } from '../changes/change.ts';
import type { Json } from '../changes/task.ts';
import { bootId } from '../kernel/clock.ts';
import type { FastPartition, MediumName } from './partition.ts';
import type { FastRoom } from './room.ts';

/** Who asks, as the kernel recorded it. */
export interface FastCaller {
  uid: number;
  gid: number;
}

const PAGE = 4096;
const wholePages = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;
/** Rows of one change. */
const ROW_BYTES = 64 * 1024;

/**
 * Makes a partition for the caller; on `auto`, what is best is measured first. Throws already-exists, bad-name, bad-value, limit-exceeded,
 * no-memory, no-space, capability-missing, volume-not-found, state-damaged.
 */
export async function planCreate(
  room: FastRoom,
  params: {
    name: string;
    bytes: number;
    medium: MediumName | 'auto';
    volume?: string | undefined;
  },
  caller: FastCaller,
): Promise<Plan> {
  const name = checkName(params.name);
  if ((await room.find(name)) !== undefined)
    throw new PersonaError('already-exists', { what: `fast partition ${name}` });
  const { volume } = params;
  if (volume !== undefined && params.medium !== 'nvme')
    throw new PersonaError('bad-value', {
      name: 'the volume',
      reason: 'only what lies on nvme can lie in one',
    });
  const auto = params.medium === 'auto';
  const partition: FastPartition = {
    name,
    id: randomUUID(),
    owner: caller.uid,
    gid: caller.gid,
    medium: params.medium === 'auto' ? 'ram' : params.medium,
    ...(volume === undefined ? {} : { volume }),
    bytes: wholePages(params.bytes),
    state: 'ready',
    boot: bootId(),
    createdMs: room.now(),
  };
  // Of `auto`, what would not be granted is an answer of the measurement.
  if (!auto) await room.admit(partition);
  const trials = { ram: randomUUID(), zram: randomUUID(), nvme: randomUUID() };
  const make = {
    kind: 'fast.make',
    params: (auto ? { partition, auto } : { partition }) as unknown as Json,
  };
  return {
    kind: 'fast.create',
    summary: `make fast partition ${name} of ${formatSize(partition.bytes)} on ${auto ? 'what is best' : partition.medium}`,
    ownerUid: caller.uid,
    // What is left is given out one at a time.
    holds: [
      `fast:${name}`,
      'fast-space:all',
      ...(volume === undefined ? [] : [`shared:volume:${volume}`]),
    ],
    tasks: auto
      ? [{ kind: 'fast.measure', params: { partition, trials } as unknown as Json }, make]
      : [make],
    needs: { bytes: ROW_BYTES },
  };
}

/** Gives a partition another size while it is in use. Throws fast-not-found, bad-value, limit-exceeded, no-memory. */
export async function planResize(
  room: FastRoom,
  params: { name: string; bytes: number },
  caller: Pick<FastCaller, 'uid'>,
): Promise<Plan> {
  const partition = await room.partition(params.name);
  const { name, id } = partition;
  const bytes = wholePages(params.bytes);
  await room.admitSize(partition, bytes);
  return {
    kind: 'fast.resize',
    summary: `give fast partition ${name} ${formatSize(bytes)} instead of ${formatSize(partition.bytes)}`,
    ownerUid: caller.uid,
    holds: [`fast:${name}`, 'fast-space:all'],
    tasks: [{ kind: 'fast.resize', params: { name, id, bytes } }],
    needs: { bytes: ROW_BYTES },
  };
}

/** Removes a partition with all it holds. Throws fast-not-found, and in-use when somebody is inside. */
export async function planRemove(
  room: FastRoom,
  name: string,
  caller: Pick<FastCaller, 'uid'>,
): Promise<Plan> {
  const partition = await room.partition(name);
  await room.place.vacate(partition, room.medium(partition));
  const params = { name };
  return {
    kind: 'fast.rm',
    summary: `remove fast partition ${name}`,
    ownerUid: caller.uid,
    holds: [`fast:${name}`],
    tasks: ['fast.vacate', 'fast.give-up', 'fast.remove'].map((kind) => ({ kind, params })),
    needs: { rescue: true },
  };
}
