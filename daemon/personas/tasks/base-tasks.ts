import { isCode, PersonaError } from '../../../ipc/errors.ts';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../../changes/task.ts';
import type { OsFacts } from '../../images/os-release.ts';
import type { Privileges } from '../../images/privileges.ts';
import { removeFile } from '../../kernel/files.ts';
import { checkUnused } from '../base-rm.ts';
import { type BaseSource, openBaseSource } from '../base-source.ts';
import { type Base, findBaseRow, insertBase, readBase } from '../bases.ts';
import { askWorker, buildImage } from '../image-children.ts';
import { layerFile } from '../layer.ts';
import {
  abandonLayer,
  adoptLayer,
  dropLayerFile,
  forgetUnusedLayer,
  putLayer,
  type StoredLayer,
  settleLayer,
} from '../layer-store.ts';
import { checkShare, enterShare, leaveShare } from '../owner-share.ts';
import { refusePrivileged } from '../privileged.ts';
import type { PersonasRoom } from '../room.ts';
import { Staging } from '../staging.ts';

type BuildParams = { name: string; source: BaseSource };
/** What building found out for the commit. */
type Built = {
  digest: string;
  bytes: number;
  entries: number;
  source: string;
  made: StoredLayer['made'];
  os: { [key: string]: string };
  privileged: string[];
};

const imageName = 'base.erofs';
/** Looking at the free space again costs a system call: once in so many bytes. */
const spaceStepBytes = 64 * 1024 * 1024;

/** What the tasks are handed beside their room. */
export interface BaseTaskParts {
  /** Throws no-space when `bytes` more would leave less than is kept free. */
  space(bytes: number): Promise<void>;
  /** Lets go of a removed layer that is still mounted between swaps. */
  release?(digest: string): Promise<void>;
}

/** Asks for space while an image grows; the first refusal stops the work. */
function watchSpace(context: TaskContext, space: BaseTaskParts['space']) {
  const stop = new AbortController();
  let asked = 0;
  let refusal: unknown;
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const grown = (done: number): void => {
    if (done - asked < spaceStepBytes) return;
    asked = done;
    space(spaceStepBytes).catch((error: unknown) => {
      refusal ??= error;
      stop.abort(error);
    });
  };
  const explain = (error: unknown): unknown =>
    refusal !== undefined && isCode(error, 'cancelled') ? refusal : error;
  return { signal, grown, explain };
}

function plainOs(os: OsFacts): { [key: string]: string } {
  return Object.fromEntries(Object.entries(os).filter(([, value]) => value !== undefined));
}

/** Root's word is given by root's own import; others bring a base without privileges. */
function checkPrivileged(found: Privileges, ownerUid: number): string[] {
  try {
    return refusePrivileged(found, ownerUid === 0);
  } catch (error) {
    if (error instanceof PersonaError) error.hint = 'Let root import it, after a look at them.';
    throw error;
  }
}

async function build(
  room: PersonasRoom,
  parts: BaseTaskParts,
  context: TaskContext,
  { source }: BuildParams,
): Promise<Built> {
  const staging = new Staging(room, context.changeId);
  await staging.make();
  const { signal, grown, explain } = watchSpace(context, parts.space);
  const opened = await openBaseSource(room, staging, source, context);
  try {
    const image = await buildImage(opened.child, staging.path(imageName), {
      signal,
      space: staging,
      onBytes: (done) => {
        grown(done);
        const { total } = opened;
        context.progress({ done, unit: 'bytes', ...(total === undefined ? {} : { total }) });
      },
    });
    await checkShare(room, context.ownerUid, image.bytes);
    const privileged = checkPrivileged(image.privileges, context.ownerUid);
    const file = await staging.open(imageName);
    try {
      const os = (await askWorker(['os'], [file], { signal })) as OsFacts;
      const { digest, bytes, entries } = image;
      const made =
        source.kind === 'host' ? 'captured' : opened.name === 'folder' ? 'created' : 'rebuilt';
      return { digest, bytes, entries, source: opened.name, made, os: plainOs(os), privileged };
    } finally {
      await file.close();
    }
  } catch (error) {
    // At once: on a full disk the journal needs the space to say that the change failed.
    await staging.drop(imageName);
    throw explain(error);
  } finally {
    opened.child.kill();
    await opened.close();
  }
}

/** Gives back what was received for the change, wherever it is by now, and its place in the share of its owner. */
async function cleanUp(room: PersonasRoom, changeId: number, source?: BaseSource): Promise<void> {
  leaveShare(room, changeId);
  await new Staging(room, changeId).remove();
  if (source?.kind === 'upload') await removeFile(source.path);
}

function builtOf(context: TaskContext): Built {
  const built = context.earlier<Built>('bases.build');
  if (built === undefined) throw new PersonaError('internal', 'no base was built');
  return built;
}

function importTasks(room: PersonasRoom, parts: BaseTaskParts): AnyTask[] {
  const buildTask = defineTask<BuildParams, Built>({
    kind: 'bases.build',
    summary: ({ name, source }) =>
      `Build the image of base ${name} from ${source.kind === 'host' ? 'the running system' : source.kind === 'path' ? source.path : 'the upload'}`,
    timeoutMs: 5 * 60 * 60_000,
    async do(context, params) {
      return { saved: await build(room, parts, context, params) };
    },
    async undo({ changeId }, { source }) {
      await cleanUp(room, changeId, source);
    },
  });
  const commit = defineTask<{ name: string }>({
    kind: 'bases.commit',
    summary: ({ name }) => `Put base ${name} into the store`,
    pointOfNoReturn: true,
    async do(context, { name }) {
      const { changeId, ownerUid } = context;
      const { digest, bytes, made, entries, source, os, privileged } = builtOf(context);
      await enterShare(room, changeId, { kind: 'base', name, owner: ownerUid, bytes });
      const createdMs = room.now();
      const detail = { name, entries, source, os, privileged, owner: ownerUid };
      const built: StoredLayer = { digest, kind: 'base', bytes, made, createdMs, detail };
      const existed = (await findBaseRow(room.store, digest)) !== undefined;
      await context.fault('bases.commit:before-adopt');
      const image = new Staging(room, changeId).path(imageName);
      const layer = await adoptLayer(room, changeId, image, built);
      const arrived = room.witnesses.arrived(layerFile(digest), digest, createdMs);
      await context.fault('bases.commit:adopted');
      const base: Base = {
        name,
        digest,
        owner: ownerUid,
        importedMs: createdMs,
        ...{ bytes, entries, source, os, privileged },
      };
      return {
        saved: { existed },
        record(tx) {
          putLayer(tx, layer, changeId);
          room.witnesses.put(tx, layerFile(digest), arrived);
          insertBase(tx, base, changeId);
        },
      };
    },
    async undo(context) {
      const built = context.earlier<Built>('bases.build');
      if (built !== undefined) await abandonLayer(room, context.changeId, built.digest);
    },
  });
  const finish = defineTask<{ name: string }>({
    kind: 'bases.finish',
    summary: () => 'Clear the staging folder',
    forward: true,
    undo: 'nothing-to-undo',
    async do(context, { name }) {
      settleLayer(room, context.changeId, builtOf(context).digest);
      await cleanUp(room, context.changeId);
      const existed = context.earlier<{ existed: boolean }>('bases.commit')?.existed === true;
      // The page is made for whoever asks.
      return { result: { name, existed } };
    },
  });
  return [buildTask, commit, finish];
}

function removalTasks(room: PersonasRoom, parts: BaseTaskParts): AnyTask[] {
  const forget = defineTask<Pick<Base, 'name' | 'digest' | 'importedMs'>>({
    kind: 'bases.forget',
    summary: ({ name }) => `Forget base ${name}`,
    pointOfNoReturn: true,
    async do({ ownerUid }, { name, digest, importedMs }) {
      const base = await readBase(room.store, name);
      // Another one, of somebody else even, may have taken the name while this change waited.
      if (base.digest !== digest || base.importedMs !== importedMs)
        throw new PersonaError('base-not-found', { base: name });
      await checkUnused(room, base, ownerUid);
      return {
        record(tx) {
          // A persona for it that was committed since breaks NOT NULL here, and so undoes this change.
          tx.run(
            `UPDATE bases SET digest = NULL WHERE name = ?
                AND EXISTS (SELECT 1 FROM personas WHERE base_digest = ?)
                AND NOT EXISTS (SELECT 1 FROM bases WHERE digest = ? AND name <> ?)`,
            name,
            digest,
            digest,
            name,
          );
          tx.run('DELETE FROM bases WHERE name = ?', name);
          forgetUnusedLayer(tx, digest);
        },
      };
    },
    undo: 'nothing-to-undo',
  });
  const discard = defineTask<{ name: string; digest: string; bytes: number }>({
    kind: 'bases.discard',
    summary: ({ name }) => `Remove the image of base ${name} unless another name needs it`,
    forward: true,
    undo: 'nothing-to-undo',
    async do(_context, { name, digest, bytes }) {
      const kept = await room.store.get('SELECT 1 FROM layers WHERE digest = ?', digest);
      if (kept === undefined) await parts.release?.(digest);
      await dropLayerFile(room, digest);
      return {
        result: { name, digest, freedBytes: kept === undefined ? bytes : 0 } satisfies Json,
      };
    },
  });
  return [forget, discard];
}

/** The steps of changes of bases. */
export function baseTasks(room: PersonasRoom, parts: BaseTaskParts): AnyTask[] {
  return [...importTasks(room, parts), ...removalTasks(room, parts)];
}
