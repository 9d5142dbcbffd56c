import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../../changes/task.ts';
import { ospMembers } from '../../images/osp-members.ts';
import type { Privileges } from '../../images/privileges.ts';
import { startWalker } from '../../kernel/as-caller.ts';
import type { Child } from '../../kernel/exec.ts';
import { openNamedFile } from '../../kernel/named-file.ts';
import { openSealed } from '../../kernel/sealed.ts';
import { askWorker, buildImage, startWorker, stepTimeoutMs } from '../image-children.ts';
import { layerFile } from '../layer.ts';
import type { Draft } from '../osp-draft.ts';
import { refusePrivileged } from '../privileged.ts';
import type { PersonasRoom } from '../room.ts';
import { isFolder } from '../seed-member.ts';
import { type Input, Staging, staged } from '../staging.ts';
import { type Difference, draftOf, step, stepKinds } from './steps.ts';

/** Opens the base image that a draft lies on. The caller closes it. */
export async function openBase(room: PersonasRoom, draft: Draft): Promise<FileHandle> {
  return await openSealed(join(room.paths.state, layerFile(draft.base.digest)));
}

/** Reads the wanted tree, a folder or any archive or image, into an image of ours. */
export function buildWanted(room: PersonasRoom): AnyTask {
  return defineTask<{ input: Input }>({
    kind: stepKinds.wanted,
    summary: () => 'Read the wanted tree',
    timeoutMs: stepTimeoutMs,
    undo: 'nothing-to-undo',
    do: (context, { input }) =>
      step(async () => {
        const staging = new Staging(room, context.changeId);
        const work = {
          signal: context.signal,
          space: staging,
          onBytes: (done: number) => context.progress({ done, unit: 'bytes', note: 'reading' }),
        };
        await withSource(staging, input, staged.tree, async (source) => {
          await buildImage(source, staging.path(staged.wanted), work);
        });
        await staging.drop(staged.tree);
        return undefined;
      }),
  });
}

/** Starts what reads an input as a tree, and cleans up behind it. */
async function withSource(
  staging: Staging,
  input: Input,
  name: string,
  work: (source: Child) => Promise<void>,
): Promise<void> {
  if (input.kind === 'path' && (await isFolder(input.path))) {
    const caller = { uid: 0, gid: 0, groups: [] };
    const { path } = input;
    await work(await startWalker({ caller, path, deadlineMs: stepTimeoutMs }));
    return;
  }
  const file = input.kind === 'path' ? await openNamedFile(input.path) : await staging.open(name);
  const spool = await staging.create(staged.spool);
  try {
    await work(await startWorker(['read', 'auto', '--spool=4'], [file, spool], { space: staging }));
  } finally {
    await Promise.all([file.close(), spool.close()]);
    await staging.drop(staged.spool);
  }
}

/** What is to become of the difference image. */
export interface DifferenceParams {
  /** Of a foreign image that is no part of a persona file. */
  input: Input | null;
  allowPrivileged: boolean;
  [key: string]: Json | Input;
}

/**
 * Makes the difference image, or takes it as it is when a trusted key signed it. Everything else is read in one
 * confined child and written by our own writer in another: the kernel never sees a stranger's bytes.
 */
export function buildDifference(room: PersonasRoom): AnyTask {
  return defineTask<DifferenceParams, Json>({
    kind: stepKinds.difference,
    summary: ({ input }) =>
      input === null
        ? 'Make the difference image (one that a trusted key signed is taken as it is)'
        : 'Rebuild the difference image',
    timeoutMs: stepTimeoutMs,
    undo: 'nothing-to-undo',
    do: (context, params) =>
      step(async () => {
        const draft = draftOf(context);
        if (draft.existing !== undefined) return undefined;
        const made = await difference(room, context, draft, params.input);
        const allowed = params.allowPrivileged || draft.allowed;
        const privileged = refusePrivileged(made.privileges, allowed);
        const { place, digest } = made;
        return { saved: { place, digest, privileged } satisfies Difference as unknown as Json };
      }),
  });
}

type Made = Pick<Difference, 'place' | 'digest'> & { privileges: Privileges };

async function difference(
  room: PersonasRoom,
  context: TaskContext,
  draft: Draft,
  input: Input | null,
): Promise<Made> {
  const staging = new Staging(room, context.changeId);
  const { image } = draft;
  if (image.from === 'signed') {
    const file = await staging.open(image.place.file);
    try {
      const args = ['inspect', `--offset=${image.place.offset}`, `--size=${image.place.size}`];
      const found = (await askWorker(args, [file], context)) as { privileged: Privileges };
      const digest = `sha256:${image.metadata.members[ospMembers.diff].sha256}`;
      return { place: image.place, digest, privileges: found.privileged };
    } finally {
      await file.close();
    }
  }
  const base = await openBase(room, draft);
  try {
    return image.from === 'tree'
      ? await fromTree(staging, context, base)
      : await fromForeign(staging, context, base, image.place, input);
  } finally {
    await base.close();
  }
}

async function written(staging: Staging, context: TaskContext, source: Child): Promise<Made> {
  const { digest, bytes, privileges } = await buildImage(source, staging.path(staged.difference), {
    signal: context.signal,
    space: staging,
    layer: true,
    onBytes: (done) => context.progress({ done, unit: 'bytes', note: 'writing the image' }),
  });
  return { place: { file: staged.difference, offset: 0, size: bytes }, digest, privileges };
}

async function fromTree(staging: Staging, context: TaskContext, base: FileHandle): Promise<Made> {
  const wanted = await staging.open(staged.wanted);
  try {
    return await written(staging, context, await startWorker(['diff'], [base, wanted]));
  } finally {
    await wanted.close();
  }
}

async function fromForeign(
  staging: Staging,
  context: TaskContext,
  base: FileHandle,
  place: Difference['place'] | undefined,
  input: Input | null,
): Promise<Made> {
  const named = input?.kind === 'path' ? await openNamedFile(input.path) : undefined;
  const file = named ?? (await staging.open(place?.file ?? staged.diff));
  const spool = await staging.create(staged.spool);
  try {
    const range = place === undefined ? [] : [`--offset=${place.offset}`, `--size=${place.size}`];
    const args = ['layer', '4@0', '--layer', '--spool=5', ...range];
    return await written(
      staging,
      context,
      await startWorker(args, [file, base, spool], { space: staging }),
    );
  } finally {
    await Promise.all([file.close(), spool.close()]);
    await staging.drop(staged.spool);
  }
}
