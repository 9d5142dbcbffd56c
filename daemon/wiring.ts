import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Api, startApi } from './api/start.ts';
import { ownerLookup, parseGroup, parseSubordinate, parseUsers } from './api/subordinate.ts';
import { takeUpRestored } from './backup/exchange.ts';
import { type Engine, startEngine } from './changes/engine.ts';
import { type Faults, noFaults } from './changes/faults.ts';
import { journalOver } from './changes/journal.ts';
import { kindsOf } from './changes/kinds.ts';
import type { Log } from './changes/log.ts';
import type { AnyTask } from './changes/task.ts';
import { openRooms } from './compose/rooms.ts';
import { type ChangeLimits, limits } from './config/limits.ts';
import { type Paths, statePlaces } from './config/paths.ts';
import type { Settings } from './config/settings.ts';
import type { FastParts } from './fast/room.ts';
import { wallMs } from './kernel/clock.ts';
import { keepHeapsFew, returnMemory } from './kernel/memory.ts';
import type { PassedSocket } from './kernel/passed-sockets.ts';
import { readBootState } from './kernel/secure-boot.ts';
import type { OpenOptions } from './store/database.ts';
import type { Store } from './store/store.ts';
import { bootRefusal } from './system/boot-policy.ts';
import { markSoon, writeMark } from './system/mark.ts';
import { openState } from './system/open-state.ts';
import { clearAsides, clearStaging, quarantineUnknown } from './system/quarantine.ts';
import { whenQuiet } from './system/quiet.ts';
import { type Space, spaceOf } from './system/space.ts';
import { lockState, makeTrees } from './system/state-tree.ts';
import { UpperPlace } from './system/upper-volume.ts';

/** Open calls get this long to finish when the daemon stops; then running changes are aborted. */
const stopGraceMs = 5_000;
/** Changes get this long to end or to be undone; what still runs then is recovered at the next start. */
const stopUndoMs = 20_000;
/** All of a stop but its last steps: a service manager grants 40 s (`TimeoutStopSec`), and then ends what is left. */
const stopMs = 35_000;
/** The mark beside the database follows the changes within this time. */
const markEveryMs = 2_000;

/** After this time without a call or an ended change, memory that they have used goes back to the machine. */
const quietMs = 3_000;
/** Below this many resident bytes there is nothing worth a pause. */
const residentBytesKept = 80e6;

/** Places where the proofs reach into a daemon; nothing of it is used in service. */
export interface Hooks {
  faults?: Faults;
  openDriver?: OpenOptions['open'];
  steps?: OpenOptions['steps'];
  wrapTask?: (task: AnyTask) => AnyTask;
  limits?: Partial<ChangeLimits>;
  /** How fast a file system is: a proof must not go by what it happens to be. */
  speedOf?: FastParts['speedOf'];
  /** The clock of who governs the volumes: milliseconds since boot. */
  governClock?: () => number;
  /** Run without sockets. */
  silent?: boolean;
}

/** What a daemon is started with. */
export interface DaemonParts {
  paths: Paths;
  settings: Settings;
  log: Log;
  version: string;
  /** Sockets from the service manager. */
  passed?: ReadonlyMap<string, PassedSocket>;
  /** A service manager clears away what this process leaves when it is killed. */
  service?: boolean;
  /** Where it keeps credentials for this process. */
  credentials?: string | undefined;
  hooks?: Hooks;
}

/** A running daemon. */
export interface Daemon {
  engine: Engine;
  rooms: Awaited<ReturnType<typeof openRooms>>;
  store: Store;
  /** Why it changes nothing, or undefined. */
  degraded: string | undefined;
  /** Resolves when the daemon is to be stopped and started again: another state waits to be taken up. */
  restart: Promise<void>;
  /** Throws unless a pool thread answers and the journal can be written. */
  alive(): Promise<void>;
  /** Stops cleanly; slots stay as they are. */
  stop(): Promise<void>;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The user a subordinate uid counts to (SECURITY 27). */
function accounts(): (uid: number) => number {
  const users = parseUsers(readText('/etc/passwd'));
  return ownerLookup(parseSubordinate(readText('/etc/subuid'), (name) => users.get(name)));
}

function engineOf(
  { log, hooks = {} }: DaemonParts,
  store: Store,
  space: Space,
  tasks: readonly AnyTask[],
  accountOf: (uid: number) => number,
  told: { began(kind: string): void; ended(): void },
): Engine {
  const { faults = noFaults, wrapTask = (task) => task } = hooks;
  return startEngine({
    kinds: kindsOf(tasks.map(wrapTask)),
    journal: journalOver(store, faults, wallMs, (error) => space.relieve(error)),
    faults,
    log,
    limits: { ...limits, ...hooks.limits },
    now: wallMs,
    space: (bytes, rescue) => space.check(bytes, rescue),
    accountOf,
    ...told,
  });
}

/**
 * Starts the daemon: lock, trees, database, rooms, recovery, slots, and only then the sockets. When it
 * throws nothing is left running and nothing was changed that another daemon uses.
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const { paths, settings, log, hooks = {} } = parts;
  keepHeapsFew();
  const undo = new AsyncDisposableStack();
  try {
    const lock = await lockState(paths);
    undo.defer(() => lock.close());
    await makeTrees(paths);
    const space = spaceOf({ state: paths.state, settings: settings.values, log });
    // On a full disk not even the database could be opened: slots come back with what the reserve gives.
    await space.check(0, true);
    const uppers = new UpperPlace({ paths, settings: settings.values, space, log });
    undo.defer(() => uppers.close());
    await uppers.bringBack();
    const { faults = noFaults } = hooks;
    const boot = readBootState();
    const insecure = bootRefusal(settings.values, boot);
    // With the volume of uppers missing a part of it would be, too.
    if (uppers.problem === undefined && insecure === undefined)
      await takeUpRestored({ paths, log, fault: (point) => faults.at(point) });
    const { store, degraded: lost } = await openState(paths, {
      ...(hooks.openDriver && { open: hooks.openDriver }),
      ...(hooks.steps && { steps: hooks.steps }),
    });
    undo.defer(() => store.close());
    const mayChange = lost === undefined && insecure === undefined;
    if (mayChange) await space.refill();
    const machine = await uppers.ready(store, mayChange);
    const degraded = lost ?? uppers.problem?.text ?? insecure;
    if (degraded !== undefined)
      log.error({ reason: degraded }, 'starting degraded: nothing will be changed');
    const restart = restartWish(() => engine);
    const accountOf = accounts();
    const trouble = { degraded, lost, boot, insecure };
    const room = { ...parts, ...trouble, store, space, machine, uppers, accountOf };
    const rooms = await openRooms({ ...room, takenUp: restart.wish });
    let stopBy = Number.POSITIVE_INFINITY;
    // After the rooms: a disk of the state that hangs does not hold up homes on other ones.
    undo.defer(async () => {
      const hasServed = Number.isFinite(stopBy) && degraded === undefined;
      if (hasServed) await tryMark(paths.state, store, log);
    });
    undo.defer(() => rooms.close(stopBy - performance.now()));
    const mark = markSoon(() => afterChanges(paths.state, store, space, log), markEveryMs);
    const quiet = whenQuiet(() => {
      if (process.memoryUsage.rss() > residentBytesKept)
        store.shrink().then(returnMemory, (err: unknown) => log.warn({ err }, 'cannot shrink'));
    }, quietMs);
    undo.defer(() => quiet.stop());
    const engine = engineOf(parts, store, space, rooms.tasks, accountOf, {
      began: (kind) => rooms.began(kind, engine),
      ended() {
        if (degraded === undefined) mark.ended();
        quiet.tell();
        restart.ended();
      },
    });
    if (degraded === undefined) await recoverAll(parts, store, engine, rooms);
    else await engine.degrade(degraded);
    // What repairs the state does nothing about the machine.
    if (insecure !== undefined) engine.refuse(degraded ?? insecure);
    const api = hooks.silent
      ? undefined
      : await openApi(parts, engine, rooms, space, accountOf, () => quiet.tell());
    const all = undo.move();
    return {
      engine,
      rooms,
      store,
      degraded,
      restart: restart.due,
      alive: () => proveAlive(paths.state, degraded === undefined ? store : undefined),
      async stop() {
        stopBy = performance.now() + stopMs;
        rooms.phase('stopping');
        await stopWork(engine, api);
        mark.stop();
        await all.disposeAsync();
      },
    };
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}

/** A pool thread answers, and the journal, where it is written, can be. */
async function proveAlive(state: string, store: Store | undefined): Promise<void> {
  await stat(state);
  await store?.commit((tx) => tx.run("INSERT OR REPLACE INTO facts VALUES ('alive', '')"));
}

/** A change that wants the daemon to start anew: nothing else is changed from then on, and its end is the time for it. */
function restartWish(engine: () => Engine) {
  const due = Promise.withResolvers<void>();
  let wished = false;
  return {
    due: due.promise,
    wish(): void {
      wished = true;
      engine().refuse('a restored state is about to be taken up');
    },
    ended(): void {
      if (wished) due.resolve();
    },
  };
}

/** What follows changes in its own time: the mark beside the database, and the reserve, if it was given back. */
async function afterChanges(state: string, store: Store, space: Space, log: Log): Promise<void> {
  try {
    await writeMark(state, store);
    await space.refill();
  } catch (err) {
    log.warn(
      { err },
      'cannot write the mark or take the reserve again, trying after the next change',
    );
  }
}

/** What a crash left is finished or undone before anyone may ask for more. */
async function recoverAll(
  { paths, log }: DaemonParts,
  store: Store,
  engine: Engine,
  rooms: Daemon['rooms'],
): Promise<void> {
  await clearAsides(paths.state);
  await rooms.recover();
  await engine.recover();
  await rooms.settle(engine);
  if (engine.open().length === 0) await clearStaging(paths.state);
  for (const { name, path } of await quarantineUnknown(paths.state, store, wallMs()))
    log.warn({ name, path }, 'no row names this file: it was put aside');
  await tryMark(paths.state, store, log);
}

/** Writes the mark where that can be done: an older one says less and nothing wrong. */
async function tryMark(state: string, store: Store, log: Log): Promise<void> {
  try {
    await writeMark(state, store);
  } catch (err) {
    log.warn({ err }, 'cannot write the mark, leaving the one before');
  }
}

async function openApi(
  { paths, settings, log, version, passed, credentials }: DaemonParts,
  engine: Engine,
  rooms: Daemon['rooms'],
  space: Space,
  ownerOf: (uid: number) => number,
  called: () => void,
): Promise<Api> {
  const api = await startApi({
    version,
    engine,
    rooms: rooms.methods(engine),
    run: paths.run,
    staging: join(paths.state, statePlaces.staging),
    groupGid: parseGroup(readText('/etc/group'), settings.values['daemon.group']),
    passed,
    credentials,
    ownerOf,
    called,
    refused: rooms.refused,
    space: (bytes) => space.check(bytes),
    bulkLimits: {
      uploadBytesMax: settings.values['uploads.bytes_max'],
      stagedPerUidMax: settings.values['uploads.bytes_max'],
    },
    report: (what, facts) => log.warn(facts, what),
  });
  rooms.phase('ready');
  return api;
}

/** Lets calls and changes end; what does not is aborted, and what cannot be is left to recovery. */
async function stopWork(engine: Engine, api: Api | undefined): Promise<void> {
  const ended = engine.stop();
  await api?.close(stopGraceMs);
  for (const { id, status } of engine.open())
    if (status === 'doing' || status === 'queued') engine.abort(id).catch(() => undefined);
  await Promise.race([ended, pause(stopUndoMs, undefined, { ref: false })]);
}
