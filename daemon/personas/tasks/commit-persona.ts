import { join } from 'node:path';
import { PersonaError } from '../../../ipc/errors.ts';
import {
  type AnyTask,
  defineTask,
  type Json,
  type Outcome,
  type TaskContext,
} from '../../changes/task.ts';
import { exists, moveDurably } from '../../kernel/files.ts';
import { writeRecord } from '../../kernel/records.ts';
import { hashOf, openSealed } from '../../kernel/sealed.ts';
import { baseFacts, baseLayer } from '../base-facts.ts';
import { layerFile } from '../layer.ts';
import { abandonLayer, adoptLayer, putLayer, type StoredLayer } from '../layer-store.ts';
import type { Draft } from '../osp-draft.ts';
import { enterShare, leaveShare } from '../owner-share.ts';
import type { Persona, PersonaLayer } from '../persona.ts';
import {
  dropPersonaFiles,
  originalFile,
  personaFile,
  recordFile,
  recordKind,
} from '../persona-files.ts';
import { insertPersona } from '../persona-rows.ts';
import { untilRemoved } from '../removals.ts';
import type { PersonasRoom } from '../room.ts';
import { sealImage } from '../seals.ts';
import { Staging, staged } from '../staging.ts';
import { type Added, type Difference, draftOf, handed, step, stepKinds } from './steps.ts';
import type { Packed } from './write-file.ts';

/** What `commit` writes down before it puts anything in place. */
export interface Placing {
  /** Digest of the persona. */
  persona: string;
  /** Digests of layers that were built for it. */
  layers: string[];
}

/**
 * Puts the files in place, each with its record, and adds the rows: from its commit on the persona exists. Until then
 * undoing removes what no row names.
 */
export function commitPersona(room: PersonasRoom): AnyTask {
  return defineTask<Record<string, never>, Json>({
    kind: stepKinds.commit,
    summary: () => 'Put the persona and its layers into the store',
    pointOfNoReturn: true,
    do: (context) =>
      step(async () => {
        const draft = draftOf(context);
        if (draft.existing !== undefined) return await mend(room, context, draft.existing);
        const parts = partsOf(context);
        const { name } = draft;
        const bytes = bytesOf(draft, parts);
        const coming = { kind: 'persona' as const, name, owner: context.ownerUid, bytes };
        await enterShare(room, context.changeId, coming);
        if (room.book.find(draft.name) !== undefined) {
          throw new PersonaError('already-exists', { what: `persona ${draft.name}` });
        }
        // Nothing waits between looking and claiming: nobody else replaces or removes the files meanwhile.
        const twin = room.book.find(parts.packed.identity);
        claim(room, parts.packed.identity, context.changeId);
        try {
          return await commit(room, context, draft, parts, twin);
        } catch (error) {
          unwant(room, parts.packed.identity, context.changeId);
          throw error;
        }
      }),
    async undo(context, _params, saved) {
      leaveShare(room, context.changeId);
      if (saved === undefined) return;
      const { persona, layers } = saved as unknown as Placing;
      for (const digest of layers) await abandonLayer(room, context.changeId, digest);
      unwant(room, persona, context.changeId);
      await dropPersonaFiles(room, persona);
    },
  });
}

/**
 * Puts files in place and answers with the rows. `twin` is the same persona under another name: its file stands, and
 * stays as it is, for where the image lies in it may differ.
 */
async function commit(
  room: PersonasRoom,
  context: TaskContext,
  draft: Draft,
  parts: Parts,
  twin: Persona | undefined,
): Promise<Outcome<Json>> {
  const base = await baseFacts(room.store, draft.base.digest);
  const persona = personaOf(room, context, draft, parts, baseLayer(base), twin);
  const layers = builtLayers(room, parts);
  const placing: Placing = {
    persona: persona.digest,
    layers: layers.map(({ layer }) => layer.digest),
  };
  await context.save(placing as unknown as Json);
  const staging = new Staging(room, context.changeId);
  const adopted: StoredLayer[] = [];
  for (const { file, layer } of layers) {
    adopted.push(await adoptLayer(room, context.changeId, staging.path(file), layer));
  }
  const seal =
    twin === undefined ? await place(room, context, movesOf(draft, parts), persona) : sealWas(twin);
  const files = adopted.map(({ digest }) => ({ file: layerFile(digest), digest }));
  if (twin === undefined) files.push(...ownFiles(persona));
  const arrived = files.map(({ file, digest }) => ({
    file,
    known: room.witnesses.arrived(file, digest, persona.importedMs),
  }));
  await context.fault('placed');
  return {
    saved: placing as unknown as Json,
    record(tx) {
      for (const layer of adopted) putLayer(tx, layer, context.changeId);
      for (const { file, known } of arrived) room.witnesses.put(tx, file, known);
      insertPersona(tx, { ...persona, ...seal }, context.changeId);
    },
  };
}

/** The files that are the persona's own, each with the digest of its bytes. */
function ownFiles({
  digest,
  fileDigest,
  originDigest,
}: Persona): { file: string; digest: string }[] {
  const file = { file: personaFile(digest), digest: fileDigest };
  if (originDigest === undefined) return [file];
  return [file, { file: originalFile(digest), digest: originDigest }];
}

/** A persona that is here already: a damaged file of it gets its bytes back, when these are they. Safe to repeat. */
async function mend(
  room: PersonasRoom,
  context: TaskContext,
  name: string,
): Promise<Outcome<Json> | undefined> {
  const persona = room.book.persona(name);
  const damaged = ownFiles(persona).filter(({ file }) => room.witnesses.problemOf(file));
  if (damaged.length === 0) return undefined;
  const upload = new Staging(room, context.changeId).path(staged.upload);
  for (const { file, digest } of damaged) {
    const target = join(room.paths.state, file);
    const here = await exists(upload);
    // A run before this one may have moved it already.
    const path = here ? upload : target;
    if ((await fileDigestOf(path)) !== digest) continue;
    if (file === personaFile(persona.digest)) await sealImage(room, path, file);
    if (here) await moveDurably(upload, target);
    const known = room.witnesses.arrived(file, digest, room.now());
    return { record: (tx) => room.witnesses.put(tx, file, known) };
  }
  const error = new PersonaError(
    'state-damaged',
    `persona ${name} is here, its file is damaged, and this file has other bytes`,
  );
  error.hint = 'Remove the persona, and import this file then.';
  throw error;
}

async function fileDigestOf(path: string): Promise<string> {
  const handle = await openSealed(path);
  try {
    return await hashOf(handle);
  } finally {
    await handle.close();
  }
}

/** Notes that a running change puts a persona's files in place. Throws change-conflict when another does. */
function claim(room: PersonasRoom, digest: string, changeId: number): void {
  const changes = room.placing.get(digest) ?? new Set<number>();
  const other = [...changes].find((change) => change !== changeId);
  if (other !== undefined) {
    throw new PersonaError('change-conflict', { change: other, what: `persona ${digest}` });
  }
  room.placing.set(digest, changes.add(changeId));
}

/** The change is done with the files: their row stands, or it was undone. */
export function unwant(room: PersonasRoom, digest: string, changeId: number): void {
  const changes = room.placing.get(digest);
  changes?.delete(changeId);
  if (changes?.size === 0) room.placing.delete(digest);
}

interface Parts {
  difference: Difference;
  seed: Added;
  runtime: Added;
  packed: Packed;
}

function partsOf(context: TaskContext): Parts {
  return {
    difference: handed(context, stepKinds.difference),
    seed: handed(context, stepKinds.seed),
    runtime: handed(context, stepKinds.runtime),
    packed: handed(context, stepKinds.pack),
  };
}

function personaOf(
  room: PersonasRoom,
  context: TaskContext,
  draft: Draft,
  { difference, seed, runtime, packed }: Parts,
  base: PersonaLayer,
  twin: Persona | undefined,
): Persona {
  const diff: PersonaLayer = {
    kind: 'diff',
    digest: difference.digest,
    file: personaFile(packed.identity),
    offset: packed.diffOffset,
    bytes: difference.place.size,
  };
  const file = twin ?? { ...packed, ...draft };
  const { bytes, fileDigest, originDigest, originBytes } = file;
  const diffHere = twin?.layers.find(({ kind }) => kind === 'diff') ?? diff;
  return {
    name: draft.name,
    digest: packed.identity,
    owner: context.ownerUid,
    importedMs: room.now(),
    bytes,
    fileDigest,
    base: draft.base,
    layers: [...addedLayer('config', runtime), ...addedLayer('seed', seed), diffHere, base],
    metadata: packed.metadata,
    signature: packed.signature,
    environment: draft.environment,
    privileged: difference.privileged,
    domain: draft.domain,
    ...(originDigest === undefined ? {} : { originDigest }),
    ...(originBytes === undefined ? {} : { originBytes }),
  };
}

function addedLayer(kind: 'seed' | 'config', { layer }: Added): PersonaLayer[] {
  if (layer === undefined) return [];
  const { digest, bytes } = layer;
  return [{ kind, digest, file: layerFile(digest), offset: 0, bytes }];
}

/** What it will take in the store. */
function bytesOf({ originBytes = 0 }: Draft, { packed, seed, runtime }: Parts): number {
  const added = [seed, runtime].reduce((sum, { layer }) => sum + (layer?.bytes ?? 0), 0);
  return packed.bytes + originBytes + added;
}

/** The layers that were built and not found in the cache. */
function builtLayers(
  room: PersonasRoom,
  { seed, runtime }: Parts,
): { file: string; layer: StoredLayer }[] {
  const createdMs = room.now();
  const of = (kind: 'seed' | 'config', { layer }: Added) => {
    if (layer?.file === undefined) return [];
    const { file, digest, bytes, input } = layer;
    return [{ file, layer: { digest, kind, bytes, input, made: 'created' as const, createdMs } }];
  };
  return [...of('seed', seed), ...of('config', runtime)];
}

/** The files of the persona that move out of staging: name there -> place in the state tree. */
function movesOf(draft: Draft, { packed }: Parts): { from: string; to: string }[] {
  const file = { from: packed.file, to: personaFile(packed.identity) };
  if (draft.originDigest === undefined) return [file];
  return [file, { from: staged.upload, to: originalFile(packed.identity) }];
}

async function place(
  room: PersonasRoom,
  context: TaskContext,
  moves: readonly { from: string; to: string }[],
  persona: Persona,
): Promise<Pick<Persona, 'verity'>> {
  const staging = new Staging(room, context.changeId);
  const file = personaFile(persona.digest);
  await untilRemoved(join(room.paths.state, file));
  let seal: Pick<Persona, 'verity'> = {};
  for (const { from, to } of moves) {
    const target = join(room.paths.state, to);
    // A run before this one may have moved it already.
    const moved = !(await staging.has(from)) && (await exists(target));
    if (to === file) seal = await sealImage(room, moved ? target : staging.path(from), file);
    if (moved) continue;
    await moveDurably(staging.path(from), target);
  }
  const path = join(room.paths.state, recordFile(file));
  await writeRecord(path, recordKind, { ...persona, ...seal });
  return seal;
}

const sealWas = ({ verity }: Persona): Pick<Persona, 'verity'> =>
  verity === undefined ? {} : { verity };
