import { type AnyTask, defineTask, type Json, type TaskContext } from '../../changes/task.ts';
import { checkEnvironmentBytes } from '../../images/environment.ts';
import type { InputsReport } from '../../images/worker-persona.ts';
import { hashOf } from '../../kernel/sealed.ts';
import { baseFacts } from '../base-facts.ts';
import { askWorker, stepTimeoutMs } from '../image-children.ts';
import { type Draft, type DraftMember, factsOf } from '../osp-draft.ts';
import type { PersonasRoom } from '../room.ts';
import { isEmptySeed, seedMember } from '../seed-member.ts';
import { type Input, type Place, Staging, staged } from '../staging.ts';
import { step, stepKinds } from './steps.ts';

/** What a new persona is to say of itself, and which small inputs it has. */
export interface PrepareParams {
  name: string;
  base: string;
  version: string;
  description: string;
  environment: Record<string, string>;
  /** The image is foreign, not made from a tree. */
  foreign: boolean;
  seed: Input | null;
  [key: string]: Json | Input | undefined;
}

/** Makes the small members of a new persona's file: data seed, runtime configuration, application list. */
export function prepareMembers(room: PersonasRoom): AnyTask {
  return defineTask<PrepareParams, Json>({
    kind: stepKinds.draft,
    summary: ({ name }) => `Check the seed, configuration and application list of ${name}`,
    timeoutMs: stepTimeoutMs,
    undo: 'nothing-to-undo',
    do: (context, params) =>
      step(async () => {
        const base = await baseFacts(room.store, params.base);
        const staging = new Staging(room, context.changeId);
        const { runtime, environment } = await runtimeMember(staging, context, params.environment);
        const seed = await seedMember(staging, params.seed, context);
        const draft: Draft = {
          name: params.name,
          base: { digest: base.digest, name: base.name },
          facts: factsOf({
            ...params,
            base,
            ownerUid: context.ownerUid,
            nowMs: room.now(),
            origin: params.foreign ? 'rebuilt' : 'created',
          }),
          environment,
          domain: params.foreign ? `stranger:${context.ownerUid}` : 'own',
          seed: await seedDraft(staging, seed),
          runtime,
          applications: await staging.whole(staged.applications),
          image: params.foreign ? { from: 'foreign' } : { from: 'tree' },
          allowed: false,
        };
        return { saved: draft as unknown as Json };
      }),
  });
}

async function sha256Of(staging: Staging, place: Place): Promise<string> {
  const handle = await staging.open(place.file);
  try {
    return (await hashOf(handle)).replace('sha256:', '');
  } finally {
    await handle.close();
  }
}

async function seedDraft(staging: Staging, place: Place): Promise<DraftMember> {
  const sha256 = await sha256Of(staging, place);
  return { ...place, sha256, empty: isEmptySeed(sha256) };
}

async function runtimeMember(
  staging: Staging,
  context: TaskContext,
  environment: Record<string, string>,
): Promise<{ runtime: DraftMember; environment: Record<string, string> }> {
  for (const name of [staged.config, staged.applications]) {
    if (!(await staging.has(name))) await staging.write(name, Buffer.alloc(0));
  }
  const files = [await staging.open(staged.config), await staging.open(staged.applications)];
  try {
    const report = (await askWorker(['inputs'], files, context, (child) => {
      child.stdin?.end(`${JSON.stringify({ environment })}\n`);
    })) as InputsReport;
    checkEnvironmentBytes(report.environment);
    const place = await staging.write('runtime_config.json', Buffer.from(report.text));
    const empty = report.files === 0 && Object.keys(report.environment).length === 0;
    const runtime = { ...place, sha256: await sha256Of(staging, place), empty };
    return { runtime, environment: report.environment };
  } finally {
    for (const file of files) await file.close();
  }
}
