import { toWire } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json } from '../../changes/task.ts';
import { type Candidate, type Choice, choose } from '../choose.ts';
import type { FastPartition, MediumName } from '../partition.ts';
import type { FastRoom } from '../room.ts';

/** The best first. */
export const candidateNames: readonly MediumName[] = ['ram', 'zram', 'nvme'];

/** A measurement writes little. */
const TRIAL_BYTES = 32 * 2 ** 20;

export interface MeasureParams {
  /** What is wanted; its medium is not chosen yet. */
  partition: FastPartition;
  /** Marks of what is measured, so that it is found again after a crash. */
  trials: { [medium in MediumName]: string };
}

const trialOf = ({ partition, trials }: MeasureParams, medium: MediumName): FastPartition => ({
  ...partition,
  medium,
  id: trials[medium],
  bytes: TRIAL_BYTES,
  owner: 0,
  gid: 0,
});

/** Measures one medium where a partition would be granted on it. */
async function candidate(
  room: FastRoom,
  params: MeasureParams,
  on: MediumName,
  fault: (point: string) => Promise<void>,
): Promise<Candidate> {
  const trial = trialOf(params, on);
  const medium = room.medium(trial);
  try {
    await room.admit({ ...params.partition, medium: on });
    const { mount } = await medium.open(trial, () => fault(`marked-${on}`));
    try {
      return { on, ...(await room.speedOf(mount.path)) };
    } finally {
      await mount.closeLater();
    }
  } catch (error) {
    return { on, refused: toWire(error).message };
  } finally {
    await medium.drop(trial);
  }
}

/** Measures what could be chosen against the disk of the state tree, one after the other, and chooses. */
export function measureTask(room: FastRoom): AnyTask {
  return defineTask<MeasureParams, Json>({
    kind: 'fast.measure',
    summary: ({ partition: { name } }) => `measure what fast partition ${name} is best made on`,
    async do(context, params) {
      const candidates: Candidate[] = [];
      const before = await room.speedOf(room.diskFolder);
      for (const on of candidateNames) {
        context.signal.throwIfAborted();
        candidates.push(await candidate(room, params, on, (point) => context.fault(point)));
      }
      // Twice, and the better counts: what slowed the disk down for a moment is no gain of another medium.
      const after = await room.speedOf(room.diskFolder);
      const disk = {
        syncMs: Math.min(before.syncMs, after.syncMs),
        readMs: Math.min(before.readMs, after.readMs),
      };
      const choice: Choice = choose(disk, candidates);
      return { saved: choice as unknown as Json, result: { choice } as unknown as Json };
    },
    async undo(_context, params) {
      for (const on of candidateNames) {
        const trial = trialOf(params, on);
        await room.medium(trial).drop(trial);
      }
    },
  });
}
