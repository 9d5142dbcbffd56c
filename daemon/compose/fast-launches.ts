import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ServedPage } from '../../ipc/methods/shapes.ts';
import type { Request, Rooms } from '../api/rooms.ts';
import type { Plan } from '../changes/change.ts';
import type { Engine } from '../changes/engine.ts';
import type { Log } from '../changes/log.ts';
import type { Paths } from '../config/paths.ts';
import { planCreate, planRemove, planResize } from '../fast/plan.ts';
import type { FastRoom } from '../fast/room.ts';
import { accountOf } from '../kernel/accounts.ts';
import { withAncestors } from '../kernel/ancestors.ts';
import { type Hierarchy, readHierarchies, removeGroup } from '../kernel/cgroups.ts';
import { bootId } from '../kernel/clock.ts';
import type { Speed } from '../kernel/disk-speed.ts';
import { freezableIn } from '../kernel/freezer.ts';
import { folderOf, makeGroups, type OwnedProcess, placeProcess } from '../kernel/placed-process.ts';
import { processStat } from '../kernel/processes.ts';
import { statMount } from '../kernel/stat-mount.ts';
import type { Application } from '../profiles/application.ts';
import { type ServedFolder, servedFolders } from '../profiles/served.ts';
import type { Store } from '../store/store.ts';
import { homeSpeed } from '../writeback/home-speed.ts';
import type { ProgramGroup } from '../writeback/program-groups.ts';
import type { Session, SessionParts, Wanted } from '../writeback/session.ts';
import { Sessions } from '../writeback/sessions.ts';
import { StopNotes } from '../writeback/stop-notes.ts';

const BWRAP = '/usr/bin/bwrap';
/** A launch has 250 ms for everything: memory that is not there by then is for a later one. */
const BUDGET_MS = 150;
/** One that is not in memory by then may have been given up. */
const LAUNCH_MS = 230;
/** Groups of programs that can be stopped, where those of launches lie in a hierarchy that cannot. Of all daemons of the machine. */
export const PARENT = 'personad-fast';

type Caller = Request['caller'];

/** A launch that is to work in memory. */
export interface InMemory {
  /** Words before its command. */
  argv: string[];
  /** It was given up: its process works on the disk, and is no instance. */
  withdraw(): Promise<void>;
}

/** Where a program was put for its launch. */
export interface Placed {
  folder: string;
  version: 1 | 2;
}

/** Folders that no other one has in it, relative to the home. Byte strings. */
export function topFolders(served: readonly ServedFolder[]): string[] {
  const all = [...new Set(served.map(({ path }) => path.slice('~/'.length)))].sort();
  const top = all.filter((one) => !all.some((other) => one.startsWith(`${other}/`)));
  return top.map((one) => Buffer.from(one).toString('latin1'));
}

/** The name of the partition of an application of a user. */
export function partitionName(app: string, uid: number): string {
  const digest = createHash('sha256').update(app).digest('hex').slice(0, 12);
  return `app-${uid}-${digest}`;
}

/** What sets groups of this state tree apart from those of another one on the same machine. */
export function treeMark(state: string): string {
  const { dev, ino } = statSync(state, { bigint: true });
  return `${dev.toString(36)}-${ino.toString(36)}`;
}

/** True for names of partitions of applications: nobody else may have one of these. */
export const isOfApplication = (name: string): boolean => /^app-\d+-[0-9a-f]{12}$/.test(name);

/** What stands in the way of any program that is to work in memory. */
export const fastObstacles = (): { fast?: string } =>
  existsSync(BWRAP) ? {} : { fast: 'bubblewrap is not installed (`apt install bubblewrap`)' };

/** Launches of applications whose folders lie in memory. */
export class FastLaunches {
  readonly sessions: Sessions;
  readonly #room: FastRoom;
  readonly #log: Log;
  readonly #machine: string;
  #engine: Engine | undefined;
  readonly #freezable: Hierarchy | undefined;
  readonly #mark: string;
  /** An instance of the application works on the disk of the user. */
  #isOnDisk: (app: string, uid: number) => boolean = () => false;

  /** @param machine the folder that stands for the root of the machine. */
  constructor(
    room: FastRoom,
    machine: string,
    {
      paths,
      ...parts
    }: { paths: Pick<Paths, 'state' | 'run'>; store: Store; log: Log; now(): number },
  ) {
    this.#room = room;
    this.#log = parts.log;
    this.#machine = machine;
    this.#mark = treeMark(paths.state);
    this.#freezable = freezableIn(readHierarchies());
    const stops = new StopNotes(paths.run);
    this.sessions = new Sessions({ ...parts, ...this.#ground(), stops });
  }

  readonly methods: Pick<Rooms, 'app.sync'> = {
    'app.sync': async ({ app, withinMs }, { caller }) => {
      const owner = caller.uid === 0 ? undefined : caller.uid;
      const askers = withAncestors(caller.pid);
      const late = await this.sessions.syncNow(owner, app, { withinMs, askers });
      const problem = `it is not on the disk within ${(withinMs ?? 0) / 1000} s, and goes on being written`;
      const applications = this.pages(owner, app).map((page) =>
        late.has(partitionName(page.app, page.owner.uid)) ? { ...page, problem } : page,
      );
      return { applications };
    },
  };

  /** What works in memory, of one user or of all. */
  pages(owner?: number, app?: string): ServedPage[] {
    return this.sessions.pages(owner, app).map(({ owner: uid, takenMs, ...page }) => {
      const name = accountOf(uid)?.name;
      return { ...page, owner: { uid, ...(name && { name }) }, savedMs: takenMs };
    });
  }

  /** What programs of an application see from memory, and of which file system; undefined where nothing serves it. */
  seenBy(owner: number, app: string): { at: string; device: string }[] | undefined {
    return this.sessions
      .binds(owner, app)
      ?.map(({ from, to }) => ({ at: to, device: statMount(from).device }));
  }

  /** From now on partitions are made as changes of this engine. Takes up what was left. */
  async over(engine: Engine, isOnDisk: (app: string, uid: number) => boolean): Promise<void> {
    this.#engine = engine;
    this.#isOnDisk = isOnDisk;
    await this.sessions.recover();
    const known = new Set(this.sessions.names);
    // The daemon has stopped after everything was on the disk, or before anything was in memory.
    for (const { name, owner } of await this.#room.views())
      if (isOfApplication(name) && !known.has(name)) await this.#removeLeft(name, owner);
  }

  /** Nothing that is only there is lost by it, and a program that is inside keeps no daemon from starting: it is removed before it is made anew. */
  async #removeLeft(name: string, uid: number): Promise<void> {
    try {
      await this.#change(await planRemove(this.#room, name, { uid }));
    } catch (err) {
      this.#log.warn({ name, err }, 'cannot remove memory that was left, trying when it is needed');
    }
  }

  /** The session of a launch that has begun at `beganMs` (of `performance.now`), which is expected then. */
  async enter(
    app: string,
    served: readonly ServedFolder[],
    { uid, gid, groups }: Caller,
    beganMs: number,
  ) {
    const home = accountOf(uid)?.home;
    if (home === undefined) return { standard: 'its user has no home on this machine' };
    const wanted: Wanted = {
      name: partitionName(app, uid),
      owner: uid,
      gid,
      groups: [...groups],
      app,
      home: join(this.#machine, home),
      folders: topFolders(served),
    };
    return await this.sessions.enter(wanted, beganMs + BUDGET_MS);
  }

  /** Where a user has data of an application: his home, and in it the folders that may come into memory. */
  dataOf(owner: number, application: Application): string[] {
    const account = accountOf(owner);
    if (account === undefined) return [this.#machine];
    const home = join(this.#machine, account.home);
    return [home, ...servedFolders(application).map(({ path }) => join(home, path.slice(2)))];
  }

  /** How fast the disk is on which the home of a user lies. */
  async speedOf(owner: number): Promise<Speed> {
    const account = accountOf(owner);
    if (account === undefined) throw new Error('it has no account on this machine');
    const { uid, gid, home } = account;
    return await homeSpeed({
      caller: { uid, gid, groups: [] },
      home: join(this.#machine, home),
    });
  }

  /** Lets the caller's process work in the memory of the session, or says why its launcher has to start it without. */
  async serve(
    session: Session,
    { pid }: Caller,
    placed: Placed,
    beganMs: number,
  ): Promise<InMemory | { standard: string }> {
    if (performance.now() > beganMs + LAUNCH_MS) {
      session.decline();
      return { standard: 'there was no time left to put it into memory' };
    }
    const launcher = processStat(pid);
    const beside = this.#freezable;
    const before = beside && folderOf(pid, beside);
    let group: ProgramGroup;
    try {
      group = await this.#groupOf(session.wanted, launcher, placed);
    } catch (error) {
      session.decline();
      throw error;
    }
    const withdraw = async () => {
      const isOwn = group.folder === placed.folder;
      try {
        await session.withdraw(isOwn ? group : undefined);
      } finally {
        if (!isOwn && beside !== undefined && before !== undefined && launcher !== undefined)
          await placeProcess(before, beside, launcher);
      }
    };
    try {
      await session.serve(group);
    } catch (error) {
      // Why it could not be noted says more than that this could not be noted either.
      await withdraw().catch(() => undefined);
      throw error;
    }
    const binds = session.binds.flatMap(({ from, to }) => ['--bind', from, to]);
    return { argv: [BWRAP, '--dev-bind', '/', '/', ...binds, '--'], withdraw };
  }

  /** The group by which the program is stopped: that of its launch, or one beside it. */
  async #groupOf(
    { name }: Wanted,
    process: OwnedProcess | undefined,
    { folder, version }: Placed,
  ): Promise<ProgramGroup> {
    if (version === 2) return { version, folder, freezable: true };
    const beside = this.#freezable;
    if (beside === undefined || process === undefined) return { version, folder, freezable: false };
    const group = `${beside.at}/${PARENT}/${name}-${this.#mark}`;
    await makeGroups(group);
    const moved = await placeProcess(group, beside, process);
    return moved
      ? { version: beside.version, folder: group, freezable: true }
      : { version, folder, freezable: false };
  }

  async #change(plan: Plan): Promise<void> {
    if (this.#engine === undefined) throw new Error('no changes are taken');
    const { done } = await this.#engine.submit(plan);
    const { status, error } = await done;
    if (status !== 'done') throw new Error(error?.message ?? `the change is ${status}`);
  }

  #ground(): Omit<SessionParts, 'store' | 'log' | 'now' | 'elapsedMs'> {
    const room = this.#room;
    const remove = async ({ name, owner }: Wanted): Promise<void> => {
      if ((await room.find(name)) !== undefined)
        await this.#change(await planRemove(room, name, { uid: owner }));
      if (this.#freezable === undefined) return;
      const parent = `${this.#freezable.at}/${PARENT}`;
      removeGroup(`${parent}/${name}-${this.#mark}`);
      // As an earlier version called it.
      removeGroup(`${parent}/${name}`);
      removeGroup(parent);
    };
    return {
      removePartition: remove,
      isOnDisk: ({ app, owner }) => this.#isOnDisk(app, owner),
      async partitionOf({ name, boot, sinceMs }) {
        if (boot !== bootId() || (await room.find(name)) === undefined) return undefined;
        const { shown, path, emptiedMs = 0 } = await room.view(name);
        return shown && emptiedMs < sinceMs ? path : undefined;
      },
      makePartition: async (wanted, bytes) => {
        await remove(wanted);
        const { name, owner: uid, gid } = wanted;
        await this.#change(await planCreate(room, { name, bytes, medium: 'ram' }, { uid, gid }));
        return room.place.at(name);
      },
      growPartition: async ({ name, owner: uid }, bytes) =>
        await this.#change(await planResize(room, { name, bytes }, { uid })),
    };
  }
}
