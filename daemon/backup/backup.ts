import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, relative } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import { type AnyTask, defineTask, type Json, type TaskContext } from '../changes/task.ts';
import { settingFiles } from '../config/fragments.ts';
import { type Paths, statePlaces } from '../config/paths.ts';
import { startWalker } from '../kernel/as-caller.ts';
import { ensureFolder } from '../kernel/files.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import { openSealed } from '../kernel/sealed.ts';
import { openDriver } from '../store/database.ts';
import type { Store } from '../store/store.ts';
import { archiveNames, type BackupFacts, factsText } from './archive.ts';
import { ArchiveWriter, type Outlet } from './archive-writer.ts';
import { type Contents, contentsOf, type FolderOf, memberOf } from './contents.ts';
import { toldBy } from './told-by.ts';

/** What backups are made with. */
export interface BackupRoom {
  paths: Pick<Paths, 'etc' | 'state'>;
  store: Store;
  version: string;
  /** Where slots in volumes have what was written in them. */
  folderOf: FolderOf;
  /** Milliseconds since 1970. */
  now(): number;
}

/** Where a backup is written to; closed when the change has ended. */
export interface BackupOutlet extends Outlet {
  /** Resolves when all was taken. */
  end(): Promise<void>;
  /** Ends it early. */
  close(): void;
  /** True once nothing can be written any more. */
  readonly closed: boolean;
}

/** Whatever removes personas, bases, slots or their past holds this shared; a backup holds it alone. */
export const removalHold = 'removal:all';

/** A disk of some terabytes over a slow link. */
const timeoutMs = 24 * 3_600_000;
const root = { uid: 0, gid: 0, groups: [] };

/** Outlets of changes that have not begun yet, by a name that stands in the plan: a plan is plain data. */
export class Backups {
  readonly room: BackupRoom;
  readonly #outlets = new Map<string, BackupOutlet>();

  constructor(room: BackupRoom) {
    this.room = room;
  }

  /** The change that writes a backup of everything into `outlet`; undefined for a dry run. */
  plan(outlet: BackupOutlet | undefined, ownerUid: number): Plan {
    // Of plans that were not taken.
    for (const [name, { closed }] of this.#outlets) if (closed) this.#outlets.delete(name);
    const name = randomBytes(8).toString('hex');
    if (outlet !== undefined) this.#outlets.set(name, outlet);
    return {
      kind: 'system.backup',
      summary: 'write a backup of the state',
      ownerUid,
      holds: [removalHold, 'shared:layers:all'],
      tasks: [{ kind: 'system.write-backup', params: { outlet: name } }],
    };
  }

  #take(name: string): BackupOutlet | undefined {
    const outlet = this.#outlets.get(name);
    this.#outlets.delete(name);
    return outlet;
  }

  /** The one step: rows, then files, then what slots hold, straight into the outlet. */
  task(): AnyTask {
    const folderOf = (changeId: number) =>
      join(this.room.paths.state, statePlaces.staging, `change-${changeId}`);
    return defineTask<{ outlet: string }>({
      kind: 'system.write-backup',
      summary: () =>
        'copy the rows of one moment, then send all files and all data of slots that they name',
      timeoutMs,
      do: async (context, { outlet: name }) => {
        const outlet = this.#take(name);
        if (outlet === undefined) throw new PersonaError('connection-lost');
        const folder = folderOf(context.changeId);
        // Whoever fetches may be in no hurry: an abort does not wait for it.
        const stop = (): void => outlet.close();
        context.signal.addEventListener('abort', stop, { once: true });
        try {
          await ensureFolder(folder);
          return { result: (await write(this.room, folder, outlet, context)) as unknown as Json };
        } catch (error) {
          throw context.signal.aborted ? new PersonaError('cancelled') : error;
        } finally {
          context.signal.removeEventListener('abort', stop);
          outlet.close();
          await removeTree(folder);
        }
      },
      undo: async ({ changeId }) => removeTree(folderOf(changeId)),
    });
  }
}

async function write(
  room: BackupRoom,
  folder: string,
  outlet: BackupOutlet,
  context: TaskContext,
): Promise<{ [key: string]: unknown }> {
  const database = join(folder, statePlaces.database);
  await room.store.snapshot(database);
  await context.fault('snapshot');
  const contents = await readContents(database, room);
  const facts = factsOf(room, contents);
  const writer = new ArchiveWriter(outlet, facts.madeMs, context.signal);
  const told = () => context.progress({ done: writer.bytes, unit: 'bytes' });
  await writer.whole(archiveNames.facts, Buffer.from(factsText(facts)));
  for (const file of settingFiles(room.paths.etc))
    await writer.whole(
      `${archiveNames.settings}${relative(room.paths.etc, file)}`,
      await readFile(file),
    );
  await sendFile(writer, memberOf({ path: statePlaces.database }), database, told);
  for (const file of contents.files) {
    const found = await sendFile(writer, memberOf(file), join(room.paths.state, file.path), told);
    if (file.sha256 !== undefined && file.sha256 !== found)
      throw new PersonaError('state-damaged', `${file.path} is not what it was when it was stored`);
  }
  await sendSlots(room, contents, writer, context.signal, told);
  await writer.end();
  await outlet.end();
  const { madeMs, bases, personas, slots, live } = facts;
  const members = writer.members.length;
  return { madeMs, bytes: writer.bytes, members, bases, personas, slots, live };
}

async function readContents(database: string, { paths, folderOf }: BackupRoom): Promise<Contents> {
  const rows = await openDriver(database);
  try {
    return await contentsOf(rows, paths, folderOf);
  } finally {
    await rows.close();
  }
}

function factsOf({ paths: { state }, now, version }: BackupRoom, contents: Contents): BackupFacts {
  const { schema, bases, personas, slots, live } = contents;
  return { madeMs: now(), host: hostname(), state, version, schema, bases, personas, slots, live };
}

async function sendFile(
  writer: ArchiveWriter,
  name: string,
  path: string,
  told: () => void,
): Promise<string> {
  const handle = await openSealed(path);
  try {
    return await writer.file(name, handle, told);
  } finally {
    await handle.close();
  }
}

/** By the walker, in a child: a slow disk holds up nobody else. What is being written to is taken as it is. */
async function sendSlots(
  { paths }: BackupRoom,
  { taken, emptied, grafts }: Contents,
  writer: ArchiveWriter,
  signal: AbortSignal,
  told: () => void,
): Promise<void> {
  const walker = await startWalker({
    caller: root,
    path: join(paths.state, statePlaces.slots),
    only: taken,
    exclude: emptied,
    grafts,
    live: true,
    uppers: true,
    deadlineMs: timeoutMs,
    limits: { cpuSeconds: timeoutMs / 1000 },
  });
  const stop = () => walker.kill();
  signal.addEventListener('abort', stop, { once: true });
  walker.done.catch(() => undefined);
  try {
    await writer.stream(archiveNames.slots, walker.stdout as AsyncIterable<Buffer>, told);
    await walker.done;
  } catch (error) {
    throw signal.aborted ? new PersonaError('cancelled') : toldBy(error, 'walker');
  } finally {
    signal.removeEventListener('abort', stop);
    walker.kill();
    walker.stdout.destroy();
    await walker.done.catch(() => undefined);
  }
}
