import type { FileHandle } from 'node:fs/promises';
import { PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../../changes/task.ts';

import { type OspContentName, ospContentNames, ospMembers } from '../../images/osp-members.ts';
import {
  type OspMetadata,
  ospIdentity,
  ospMetadataBytes,
  parseOspMetadata,
} from '../../images/osp-metadata.ts';
import { type OspSignature, signOsp } from '../../images/osp-signature.ts';
import type { PackOrder, PackReport } from '../../images/worker-persona.ts';
import { canonicalJson } from '../../kernel/records.ts';
import { hashOf } from '../../kernel/sealed.ts';
import { converse, stepTimeoutMs } from '../image-children.ts';
import { type Draft, factsFrom } from '../osp-draft.ts';
import type { PersonasRoom } from '../room.ts';
import { type Place, Staging, staged } from '../staging.ts';
import { type Difference, draftOf, handed, step, stepKinds } from './steps.ts';

/** What `write-file` hands over: the persona file as it will be in the store. */
export interface Packed {
  /** Name in staging. */
  file: string;
  identity: string;
  bytes: number;
  fileDigest: string;
  diffOffset: number;
  metadata: OspMetadata;
  signature: OspSignature;
}

/**
 * Writes the persona file that goes into the store: members, digests, and the signature of this machine's key over
 * an image that our own writer wrote. A signed file whose image is aligned is kept as it came.
 */
export function writeFile(room: PersonasRoom): AnyTask {
  return defineTask<Record<string, never>, Json>({
    kind: stepKinds.pack,
    summary: () => 'Write and sign the persona file (a signed one is kept as it came)',
    timeoutMs: stepTimeoutMs,
    undo: 'nothing-to-undo',
    do: (context) =>
      step(async () => {
        const draft = draftOf(context);
        if (draft.existing !== undefined) return undefined;
        const staging = new Staging(room, context.changeId);
        const { image } = draft;
        const packed =
          image.from === 'signed' && image.inPlace
            ? await kept(staging, image)
            : await pack(room, staging, context, draft);
        return { saved: packed as unknown as Json };
      }),
  });
}

type SignedImage = Extract<Draft['image'], { from: 'signed' }>;

async function kept(staging: Staging, image: SignedImage): Promise<Packed> {
  const { metadata, signature, place } = image;
  const file = await staging.open(staged.upload);
  try {
    const { size } = await file.stat();
    const fileDigest = await hashOf(file);
    return keptFile(metadata, signature, { size, fileDigest, diffOffset: place.offset });
  } finally {
    await file.close();
  }
}

function keptFile(
  metadata: OspMetadata,
  signature: OspSignature,
  { size, ...facts }: { size: number; fileDigest: string; diffOffset: number },
): Packed {
  const identity = ospIdentity(metadata);
  return { file: staged.upload, identity, bytes: size, ...facts, metadata, signature };
}

async function pack(
  room: PersonasRoom,
  staging: Staging,
  context: TaskContext,
  draft: Draft,
): Promise<Packed> {
  const difference = handed<Difference>(context, stepKinds.difference);
  const places: Record<OspContentName, Place> = {
    [ospMembers.diff]: difference.place,
    [ospMembers.applications]: draft.applications,
    [ospMembers.seed]: draft.seed,
    [ospMembers.runtime]: draft.runtime,
  };
  const out = await staging.create(staged.packed);
  const sources: FileHandle[] = [];
  try {
    for (const name of ospContentNames) sources.push(await staging.open(places[name].file));
    const members = Object.fromEntries(
      ospContentNames.map((name, index) => {
        const { offset, size } = places[name];
        return [name, { fd: firstSource + index, offset, size }];
      }),
    ) as PackOrder['members'];
    const order: PackOrder = { facts: draft.facts, members };
    let signed: Pick<Packed, 'metadata' | 'signature'> | undefined;
    const report = (await converse(['pack'], [out, ...sources], context, {
      order,
      answer(question) {
        const metadata = parseOspMetadata(Buffer.from(question));
        signed = { metadata, signature: signatureFor(room, draft, difference, metadata) };
        return signed.signature;
      },
    })) as PackReport;
    if (signed === undefined) throw wrong('the writer asked for no signature');
    await out.sync();
    await checkWritten(out, report, difference, signed.metadata);
    const { identity, size: bytes, diffOffset } = report;
    const fileDigest = await hashOf(out);
    return { file: staged.packed, identity, bytes, fileDigest, diffOffset, ...signed };
  } finally {
    await Promise.all([out, ...sources].map((file) => file.close()));
  }
}

/** The first source of `pack`: the new file comes before. */
const firstSource = 4;

/** Signs nothing but the facts of this draft over the image that our own writer wrote. */
function signatureFor(
  { machineKey }: PersonasRoom,
  draft: Draft,
  difference: Difference,
  metadata: OspMetadata,
): OspSignature {
  const { image } = draft;
  if (image.from === 'signed') {
    if (ospIdentity(metadata) === ospIdentity(image.metadata)) return image.signature;
    throw wrong('moving the members changed the identity');
  }
  const same = canonicalJson(factsFrom(metadata)) === canonicalJson(draft.facts);
  const image256 = `sha256:${metadata.members[ospMembers.diff].sha256}`;
  if (!same || image256 !== difference.digest)
    throw wrong('the writer asks to sign something else');
  return signOsp(ospMetadataBytes(metadata), machineKey.id, machineKey.privateKey);
}

/** What will be mounted is what was signed: asked of the new file itself. */
async function checkWritten(
  out: FileHandle,
  report: PackReport,
  difference: Difference,
  metadata: OspMetadata,
): Promise<void> {
  const { offset, length } = { offset: report.diffOffset, length: difference.place.size };
  const found = await hashOf(out, { offset, length });
  const { size } = await out.stat();
  if (
    found === difference.digest &&
    size === report.size &&
    ospIdentity(metadata) === report.identity
  )
    return;
  const expected = difference.digest;
  throw new PersonaError('digest-mismatch', { what: 'the written persona file', expected, found });
}

function wrong(reason: string): PersonaError {
  return new PersonaError('internal', reason);
}
