import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import type { TaskSpec } from '../changes/task.ts';
import { baseFacts } from './base-facts.ts';
import { checkShare } from './owner-share.ts';
import { isAllowedBy } from './privileged.ts';
import type { PersonasRoom } from './room.ts';
import { type Input, staged } from './staging.ts';
import { stepKinds } from './tasks/steps.ts';

/** A file (or, of root, a folder) behind an input: a received file is the change's from now on. */
export interface Given {
  path: string;
  uploaded: boolean;
  /** Its length, where it is a received file. */
  bytes?: number | undefined;
}

/** What a persona is made from. */
export interface CreateParams {
  name: string;
  /** Name or digest. */
  base: string;
  /** The wanted tree, or ... */
  tree?: Given | undefined;
  /** ... the ready difference. */
  diff?: Given | undefined;
  seed?: Given | undefined;
  config?: Given | undefined;
  applications?: Given | undefined;
  description?: string | undefined;
  version?: string | undefined;
  environment?: Record<string, string> | undefined;
  allowPrivileged?: boolean | undefined;
}

/** Inputs that are read where they lie when root names them; the others are small and copied. */
const readInPlace = new Set<string>([staged.tree, staged.diff, staged.seed]);

/**
 * The change that makes a persona from a wanted tree or a ready difference, signs it and puts it into the store.
 * Throws base-not-found, already-exists or bad-value.
 */
export async function planCreate(
  room: PersonasRoom,
  params: CreateParams,
  ownerUid: number,
): Promise<Plan> {
  const allowPrivileged = isAllowedBy(ownerUid, params.allowPrivileged);
  const base = await baseFacts(room.store, params.base);
  if (room.book.find(params.name) !== undefined) {
    throw new PersonaError('already-exists', { what: `persona ${params.name}` });
  }
  if ((params.tree === undefined) === (params.diff === undefined)) {
    const reason = 'exactly one of a tree and a difference is needed';
    throw new PersonaError('bad-value', { name: 'the input', reason });
  }
  await checkShare(room, ownerUid, 0);
  const inputs = stagedInputs(params);
  const difference: TaskSpec = {
    kind: stepKinds.difference,
    params: { input: params.diff === undefined ? null : inputs.of(staged.diff), allowPrivileged },
  };
  const wanted: TaskSpec[] =
    params.tree === undefined
      ? []
      : [{ kind: stepKinds.wanted, params: { input: inputs.of(staged.tree) } }];
  return {
    kind: 'persona.create',
    summary: `Create persona ${params.name} on base ${base.name}`,
    ownerUid,
    holds: [`persona:${params.name}`, `shared:base:${base.name}`, 'shared:layers:all'],
    tasks: [
      { kind: stepKinds.stage, params: { taken: inputs.taken, copied: inputs.copied } },
      {
        kind: stepKinds.draft,
        params: {
          name: params.name,
          base: base.digest,
          version: params.version ?? '1',
          description: params.description ?? '',
          environment: params.environment ?? {},
          foreign: params.diff !== undefined,
          seed: params.seed === undefined ? null : inputs.of(staged.seed),
        },
      },
      ...wanted,
      difference,
      ...lastSteps,
    ],
    needs: { bytes: bytesFor(params, base.bytes) },
  };
}

/** The steps that creating and importing have in common. */
export const lastSteps: TaskSpec[] = [
  { kind: stepKinds.seed, params: {} },
  { kind: stepKinds.runtime, params: {} },
  { kind: stepKinds.pack, params: {} },
  { kind: stepKinds.commit, params: {} },
  { kind: stepKinds.finish, params: {} },
];

interface StagedInputs {
  taken: Record<string, string>;
  copied: Record<string, string>;
  of(name: string): { kind: 'staged' } | { kind: 'path'; path: string };
}

function stagedInputs(params: CreateParams): StagedInputs {
  const given: [string, Given | undefined][] = [
    [staged.tree, params.tree],
    [staged.diff, params.diff],
    [staged.seed, params.seed],
    [staged.config, params.config],
    [staged.applications, params.applications],
  ];
  const taken: Record<string, string> = {};
  const copied: Record<string, string> = {};
  const named: Record<string, string> = {};
  for (const [name, input] of given) {
    if (input === undefined) continue;
    if (input.uploaded) taken[name] = input.path;
    else if (readInPlace.has(name)) named[name] = input.path;
    else copied[name] = input.path;
  }
  return {
    taken,
    copied,
    of(name): Input {
      const path = named[name];
      return path === undefined ? { kind: 'staged' } : { kind: 'path', path };
    },
  };
}

/** A packed tree unpacks to about this much more; what is over it fails later, and undoes the change. */
const unpackFactor = 4;

/**
 * What the change may write at once: the unpacked tree, its image, its difference and the file. A folder's size is
 * not known without walking it; it will be about that of its base.
 */
function bytesFor({ tree, diff, seed }: CreateParams, baseBytes: number): number {
  const image = tree === undefined ? 0 : 2 * (tree.bytes ?? baseBytes) + baseBytes;
  const difference = (diff?.bytes ?? 0) * unpackFactor;
  return image + difference + (seed?.bytes ?? 0) * unpackFactor;
}
