import type { FileHandle } from 'node:fs/promises';
import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../../changes/task.ts';
import { checkEnvironmentBytes } from '../../images/environment.ts';
import { ospContentNames, ospMembers } from '../../images/osp-members.ts';
import type { OspReport } from '../../images/worker-persona.ts';
import { hashOf } from '../../kernel/sealed.ts';
import { findBase } from '../base-facts.ts';
import { askWorker, stepTimeoutMs } from '../image-children.ts';
import { type Draft, type DraftMember, factsFrom } from '../osp-draft.ts';
import { checkShare } from '../owner-share.ts';
import type { PersonasRoom } from '../room.ts';
import { isEmptySeed } from '../seed-member.ts';
import { type Place, Staging, staged } from '../staging.ts';
import { type SignatureState, signatureState, trustDomain } from '../trust.ts';
import { step, stepKinds } from './steps.ts';

/** Which file was given is known to the staging step; this is what is to be done with it. */
export interface ReadParams {
  /** Another name than the one in the file. */
  name: string | null;
  [key: string]: Json;
}

/**
 * Reads the staged persona file in a confined child and judges it: members and digests (hashed by the daemon itself,
 * through the one descriptor), base, name, signature. Decides whether its image is taken as it is or rebuilt.
 */
export function readFile(room: PersonasRoom): AnyTask {
  return defineTask<ReadParams, Json>({
    kind: stepKinds.read,
    summary: () => 'Read the persona file, check its members, digests, base and signature',
    timeoutMs: stepTimeoutMs,
    undo: 'nothing-to-undo',
    do: (context, params) =>
      step(async () => {
        const staging = new Staging(room, context.changeId);
        const file = await staging.open(staged.upload);
        try {
          const report = (await askWorker(['osp'], [file], context)) as OspReport;
          await checkDigests(context, file, report);
          const draft = await judge(room, context.ownerUid, params.name, report);
          const kept = draft.image.from === 'signed' && draft.image.inPlace;
          if (draft.existing !== undefined || kept) return { saved: draft as unknown as Json };
          const original = {
            originDigest: await hashOf(file),
            originBytes: (await file.stat()).size,
          };
          return { saved: { ...draft, ...original } as unknown as Json };
        } finally {
          await file.close();
        }
      }),
  });
}

/** The child hashed them too; but what a trusted signature vouches for, the daemon has read itself. */
async function checkDigests(
  context: TaskContext,
  file: FileHandle,
  { metadata, members }: OspReport,
): Promise<void> {
  let before = 0;
  const total = ospContentNames.reduce((sum, name) => sum + metadata.members[name].size, 0);
  for (const name of ospContentNames) {
    const place = placeOf(members, name);
    const found = await hashOf(file, { offset: place.offset, length: place.size }, (done) => {
      context.signal.throwIfAborted();
      context.progress({ done: before + done, total, unit: 'bytes', note: `checking ${name}` });
    });
    before += place.size;
    const expected = `sha256:${metadata.members[name].sha256}`;
    if (found !== expected || place.size !== metadata.members[name].size) {
      throw new PersonaError('digest-mismatch', { what: `the member ${name}`, expected, found });
    }
  }
}

function placeOf(members: OspReport['members'], name: string): Place {
  const place = members[name];
  if (place === undefined) throw new PersonaError('bad-persona', `it lacks the member ${name}`);
  return { file: staged.upload, ...place };
}

async function judge(
  room: PersonasRoom,
  ownerUid: number,
  wantedName: string | null,
  report: OspReport,
): Promise<Draft> {
  const { metadata, members, signature } = report;
  const base = await findBase(room.store, metadata.base_digest);
  if (base === undefined) throw new PersonaError('wrong-base', { wanted: metadata.base_digest });
  const state = signatureState(room.book, metadata, signature);
  if (state === 'revoked') {
    const what = `persona ${metadata.name}`;
    throw new PersonaError('key-revoked', { what, key: signature?.key_id ?? '?' });
  }
  const name = wantedName ?? metadata.name;
  const existing = existingOf(room, name, report);
  if (existing === undefined) {
    checkEnvironmentBytes(report.environment);
    await checkShare(room, ownerUid, bytesOf(report));
  }
  return {
    name,
    base: { digest: base.digest, name: base.name },
    ...factsAndImage(state, report),
    environment: report.environment,
    domain: trustDomain(state, metadata, signature, ownerUid),
    seed: seedOf(report),
    runtime: runtimeOf(report),
    applications: placeOf(members, ospMembers.applications),
    allowed: state === 'own',
    ...(existing === undefined ? {} : { existing }),
  };
}

/** What its members have at least: a file is as large. */
function bytesOf({ metadata: { members } }: OspReport): number {
  return Object.values(members).reduce((sum, { size }) => sum + size, 0);
}

function seedOf({ metadata, members }: OspReport): DraftMember {
  const { sha256 } = metadata.members[ospMembers.seed];
  return { ...placeOf(members, ospMembers.seed), sha256, empty: isEmptySeed(sha256) };
}

function runtimeOf({ metadata, members, files, environment }: OspReport): DraftMember {
  const { sha256 } = metadata.members[ospMembers.runtime];
  const empty = files === 0 && Object.keys(environment).length === 0;
  return { ...placeOf(members, ospMembers.runtime), sha256, empty };
}

function factsAndImage(
  state: SignatureState,
  { metadata, members, signature, identity, inPlace }: OspReport,
): Pick<Draft, 'facts' | 'image'> {
  const place = placeOf(members, ospMembers.diff);
  const facts = factsFrom(metadata);
  if ((state === 'own' || state === 'trusted') && signature !== undefined) {
    return { facts, image: { from: 'signed', place, inPlace, metadata, signature } };
  }
  return {
    facts: { ...facts, origin: 'rebuilt', origin_digest: identity },
    image: { from: 'foreign', place },
  };
}

/** The persona here that this file already became, if it did. Throws already-exists when the name is another's. */
function existingOf(room: PersonasRoom, name: string, { identity }: OspReport): string | undefined {
  const found = room.book.find(name);
  if (found === undefined) return undefined;
  if (found.digest === identity || found.metadata.origin_digest === identity) return found.name;
  throw new PersonaError('already-exists', { what: `persona ${name}` });
}
