import { type AnyTask, defineTask, type Json, type TaskContext } from '../../changes/task.ts';
import { cachedLayer, type LayerInputs, layerKey } from '../added-layers.ts';
import { buildImage, startWorker, stepTimeoutMs } from '../image-children.ts';
import { claimLayer, settleLayer } from '../layer-store.ts';
import type { Draft } from '../osp-draft.ts';
import type { PersonasRoom } from '../room.ts';
import { Staging, staged } from '../staging.ts';
import { openBase } from './build-difference.ts';
import { type Added, type Difference, draftOf, handed, step, stepKinds } from './steps.ts';

/** One of the layers that lie on a persona's difference. */
interface Part {
  kind: string;
  layer: LayerInputs['kind'];
  /** Mode of the worker. */
  mode: 'seed' | 'runtime';
  file: string;
  summary: string;
}

const seedPart: Part = {
  kind: stepKinds.seed,
  layer: 'seed',
  mode: 'seed',
  file: staged.seedImage,
  summary: 'Make the layer of the data seed',
};
const runtimePart: Part = {
  kind: stepKinds.runtime,
  layer: 'config',
  mode: 'runtime',
  file: staged.runtimeImage,
  summary: 'Make the layer of the runtime configuration',
};

/** An image with nothing but a root: such a layer is left out. */
const entriesOfNothing = 1;

/** Builds the layer of the data seed, unless one made from the same inputs is there. */
export const buildSeed = (room: PersonasRoom): AnyTask => buildPart(room, seedPart);
/** Builds the layer of the runtime configuration, unless one made from the same inputs is there. */
export const buildRuntime = (room: PersonasRoom): AnyTask => buildPart(room, runtimePart);

function buildPart(room: PersonasRoom, part: Part): AnyTask {
  return defineTask<Record<string, never>, Json>({
    kind: part.kind,
    summary: () => part.summary,
    timeoutMs: stepTimeoutMs,
    do: (context) =>
      step(async () => {
        const draft = draftOf(context);
        if (draft.existing !== undefined) return undefined;
        if (draft[part.mode].empty) return { saved: {} };
        const added = await build(room, context, part, draft);
        return { saved: added as unknown as Json };
      }),
    async undo({ changeId }, _params, saved) {
      const { layer } = (saved ?? {}) as Added;
      if (layer !== undefined) settleLayer(room, changeId, layer.digest);
    },
  });
}

async function build(
  room: PersonasRoom,
  context: TaskContext,
  part: Part,
  draft: Draft,
): Promise<Added> {
  const difference = handed<Difference>(context, stepKinds.difference);
  const inputs: LayerInputs = {
    kind: part.layer,
    domain: draft.domain,
    base: draft.base.digest,
    diff: difference.digest,
    member: draft[part.mode].sha256,
  };
  const input = layerKey(inputs);
  const cached = await cachedLayer(room, inputs);
  if (cached !== undefined && (await claimLayer(room, context.changeId, cached.digest)))
    return { layer: { ...cached, input } };
  const staging = new Staging(room, context.changeId);
  const place = draft[part.mode];
  const member = await staging.open(place.file);
  const base = await openBase(room, draft);
  const diff = await staging.open(difference.place.file);
  const spool = await staging.create(staged.spool);
  try {
    const below = `4@0+5@${difference.place.offset}`;
    const range = [`--offset=${place.offset}`, `--size=${place.size}`];
    const reader = await startWorker(
      [part.mode, below, '--spool=6', ...range],
      [member, base, diff, spool],
      { space: staging },
    );
    const work = { signal: context.signal, space: staging };
    const { digest, bytes, entries } = await buildImage(reader, staging.path(part.file), work);
    if (entries > entriesOfNothing) return { layer: { digest, bytes, input, file: part.file } };
    await staging.drop(part.file);
    return {};
  } finally {
    await Promise.all([member, base, diff, spool].map((file) => file.close()));
    await staging.drop(staged.spool);
  }
}
