import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../changes/task.ts';
import type { Paths } from '../config/paths.ts';
import { exists, removeFile } from '../kernel/files.ts';
import { openNamedFile } from '../kernel/named-file.ts';
import { writeRecord } from '../kernel/records.ts';
import { migrations } from '../store/migrate.ts';
import type { BackupFacts } from './archive.ts';
import { type Archive, openArchive } from './archive-reader.ts';
import { checkUnpacked } from './check.ts';
import { shownSlots } from './exchange.ts';
import { answered, type FilePatience } from './patience.ts';
import { restorePlaces, restoreRecord } from './restored.ts';
import { dropUnpacked, unpack } from './unpack.ts';

/** What a restore works with. */
export interface RestoreRoom {
  paths: Pick<Paths, 'state' | 'run'>;
  /** Whether the state tree holds images, personas or slots. */
  inUse(): boolean;
  /** From now on nothing else is changed, and the daemon starts anew when the change has ended. */
  takenUp(): void;
  /** Milliseconds since 1970. */
  now(): number;
  /** Longest time of one answer of the file system that the backup lies in. */
  answerMs: number;
}

/** What is asked for. */
export interface RestoreRequest {
  file: string;
  replace?: boolean | undefined;
  endSlots?: boolean | undefined;
}

/** A backup of some terabytes from a slow disk. */
const timeoutMs = 24 * 3_600_000;

async function withArchive<T>(
  path: string,
  patience: FilePatience,
  work: (archive: Archive) => Promise<T> | T,
): Promise<T> {
  const opening = openNamedFile(path);
  // Not waited for: it would last as long as a read that hangs, or an opening that does.
  const close = () => void opening.then((handle) => handle.close()).catch(() => undefined);
  try {
    const handle = await answered(opening, patience);
    const archive = await openArchive(handle, patience);
    const known = migrations.at(-1)?.version ?? 0;
    const { schema } = archive.facts;
    if (schema > known)
      throw new PersonaError('format-too-new', { found: schema, known, what: 'database' });
    return await work(archive);
  } finally {
    close();
  }
}

function checkShown({ paths }: RestoreRoom, endSlots: boolean | undefined): void {
  const shown = endSlots === true ? [] : shownSlots(paths);
  if (shown.length === 0) return;
  const error = new PersonaError('in-use', {
    what: `slot ${shown.join(', ')}`,
    by: 'the tree it shows',
  });
  error.hint =
    'Say --end-slots to take the trees off. Programs inside keep theirs until they end; what they still write stays in the state that is put aside.';
  throw error;
}

/** The change that puts a backup in the place of the state. Throws already-exists, in-use, or what is wrong with the file. */
export async function planRestore(
  room: RestoreRoom,
  { file, replace, endSlots }: RestoreRequest,
  ownerUid: number,
): Promise<Plan> {
  const { facts, bytes } = await withArchive(file, room, ({ facts, bytes }) => ({ facts, bytes }));
  if (replace !== true && room.inUse()) {
    const error = new PersonaError('already-exists', { what: `state in ${room.paths.state}` });
    error.hint = 'Say --replace: it is put aside then, and kept.';
    throw error;
  }
  checkShown(room, endSlots);
  const params = { file, ...(endSlots === true && { endSlots }) };
  const made = new Date(facts.madeMs).toISOString();
  return {
    kind: 'system.restore',
    summary: `restore the state of ${facts.host} of ${made}`,
    ownerUid,
    holds: ['removal:all', 'layers:all'],
    conflict: 'refuse',
    tasks: [
      { kind: 'system.unpack-backup', params },
      { kind: 'system.check-backup', params: {} },
      { kind: 'system.take-up-backup', params },
    ],
    needs: { bytes, repairs: true },
  };
}

function factsOf(context: TaskContext): BackupFacts {
  const facts = context.earlier<Json>('system.unpack-backup');
  if (facts === undefined) throw new PersonaError('internal', 'no backup was unpacked');
  return facts as unknown as BackupFacts;
}

/** The steps of a restore. The exchange itself is the next start's: see `takeUpRestored`. */
export function restoreTasks(room: RestoreRoom): AnyTask[] {
  const { state } = room.paths;
  const { ready } = restorePlaces(state);
  const unpackTask = defineTask<{ file: string }>({
    kind: 'system.unpack-backup',
    summary: ({ file }) => `unpack ${file} beside the state, checking every digest`,
    timeoutMs,
    async do(context, { file }) {
      const { signal } = context;
      const { answerMs } = room;
      return await withArchive(file, { answerMs, signal }, async (archive) => {
        const total = archive.bytes;
        const onBytes = (done: number) => context.progress({ done, total, unit: 'bytes' });
        await unpack(archive, state, { signal, onBytes });
        return { saved: archive.facts as unknown as Json };
      });
    },
    undo: () => dropUnpacked(state),
  });
  const checkTask = defineTask<Record<string, never>>({
    kind: 'system.check-backup',
    summary: () => 'check its database, and that everything its rows name is there',
    timeoutMs: 3_600_000,
    async do(context) {
      await checkUnpacked(state, factsOf(context).state);
    },
    undo: 'nothing-to-undo',
  });
  const takeUpTask = defineTask<{ endSlots?: boolean }>({
    kind: 'system.take-up-backup',
    summary: () =>
      'start anew: put the present state aside, into quarantine, and the backup in its place',
    pointOfNoReturn: true,
    async do(context, { endSlots }) {
      checkShown(room, endSlots);
      const { madeMs, host, bases, personas, slots, live } = factsOf(context);
      await writeRecord(ready, restoreRecord, { takenMs: room.now() });
      await context.fault('ready');
      room.takenUp();
      const inUse = live.map(({ slot, generation }) => ({ slot, generation }));
      return { result: { madeMs, host, bases, personas, slots, live: inUse } };
    },
    async undo() {
      if (await exists(ready)) await removeFile(ready);
    },
  });
  return [unpackTask, checkTask, takeUpTask];
}
