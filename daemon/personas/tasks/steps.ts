import { PersonaError } from '../../../ipc/errors.ts';
import type { Outcome, TaskContext } from '../../changes/task.ts';
import { failedWith, KernelError } from '../../kernel/errno.ts';
import { ProgramFailed } from '../../kernel/exec.ts';
import { childFailure } from '../child-failure.ts';
import type { Draft } from '../osp-draft.ts';
import type { Place } from '../staging.ts';

/** The kinds of the steps, which find each other's results by them. */
export const stepKinds = {
  stage: 'personas.stage-inputs',
  draft: 'personas.prepare-members',
  read: 'personas.read-file',
  wanted: 'personas.build-wanted',
  difference: 'personas.build-difference',
  seed: 'personas.build-seed',
  runtime: 'personas.build-runtime',
  pack: 'personas.write-file',
  commit: 'personas.commit',
  finish: 'personas.finish',
} as const;

/** What `build-difference` hands over. */
export interface Difference {
  place: Place;
  digest: string;
  privileged: string[];
}

/** What `build-seed` and `build-runtime` hand over. */
export interface Added {
  layer?: {
    digest: string;
    bytes: number;
    /** Cache key. */
    input: string;
    /** In staging; absent when it is in the store already. */
    file?: string;
  };
}

/** The draft of the change. */
export function draftOf(context: TaskContext): Draft {
  return handed<Draft>(context, stepKinds.draft, stepKinds.read);
}

/** What the latest step of one of these kinds handed over. */
export function handed<T>(context: TaskContext, ...kinds: string[]): T {
  for (const kind of kinds) {
    const found = context.earlier(kind);
    if (found !== undefined) return found as T;
  }
  throw new PersonaError('internal', `a change without the step ${kinds.join(' or ')}`);
}

/** Runs a step's work; what it throws becomes an error of the table. */
export async function step<S>(
  work: () => Promise<Outcome<S> | undefined>,
): Promise<Outcome<S> | undefined> {
  try {
    return await work();
  } catch (error) {
    throw sayable(error);
  }
}

function sayable(error: unknown): unknown {
  if (error instanceof ProgramFailed) return childFailure(error);
  if (failedWith(error, 'ENOSPC', 'EDQUOT', 'EFBIG')) {
    return new PersonaError('no-space', {
      needed: 'more',
      free: 'too little',
      path: 'the state tree',
    });
  }
  if (error instanceof KernelError) {
    return new PersonaError('kernel-refused', { call: error.syscall, reason: error.message });
  }
  return error;
}
