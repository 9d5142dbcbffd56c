import { PersonaError } from '../../ipc/errors.ts';
import type { Answer } from '../../ipc/methods/index.ts';
import type { Request, Rooms } from '../api/rooms.ts';
import type { Engine } from '../changes/engine.ts';
import type { Log } from '../changes/log.ts';
import type { Settings } from '../config/settings.ts';
import { type Hierarchy, processesOf, readHierarchies } from '../kernel/cgroups.ts';
import { boottimeMs, wallMs } from '../kernel/clock.ts';
import { failedWith } from '../kernel/errno.ts';
import { readGroupMemory } from '../kernel/group-memory.ts';
import { readGroupUse } from '../kernel/group-use.ts';
import { readMountinfo } from '../kernel/mountinfo.ts';
import { countSyncs, countsSyncs } from '../kernel/sync-count.ts';
import { managerRuns } from '../kernel/unit-properties.ts';
import type { Places } from '../partitions/places.ts';
import type { PartitionsRoom } from '../partitions/room.ts';
import { applicationIdPattern } from '../profiles/application.ts';
import { DiskSpeeds } from '../profiles/disk-speeds.ts';
import { mayGain } from '../profiles/gain.ts';
import type { LateLaunches } from '../profiles/late-launches.ts';
import { type Launch, type LaunchPlan, planLaunch } from '../profiles/launch-plan.ts';
import { launched } from '../profiles/launched.ts';
import { Measuring } from '../profiles/measuring.ts';
import { ownGroups } from '../profiles/own-groups.ts';
import { Placements } from '../profiles/placements.ts';
import type { ProfilesRoom } from '../profiles/room.ts';
import { Running, type RunningApplication } from '../profiles/running.ts';
import { scopes } from '../profiles/scopes.ts';
import { statedEnclave } from '../profiles/stated-grants.ts';
import { isPopulated } from '../writeback/program-groups.ts';
import { type FastLaunches, fastObstacles } from './fast-launches.ts';
import { openFound } from './found-programs.ts';
import { isShort, openPins, pinnedPages } from './pins.ts';
import { runningPage, runningStatus, verifyAll } from './running-pages.ts';
import { failingClosed, type SecureLaunches } from './secure-launches.ts';

/** What launches are planned with. */
export interface LaunchParts {
  partitions: PartitionsRoom;
  applications: ProfilesRoom;
  secure: SecureLaunches;
  settings: Settings;
  fast: FastLaunches;
  log: Log;
  accountOf(uid: number): number;
  /** Why nothing may be written down, or undefined. */
  degraded: string | undefined;
}

type Asked = Parameters<Rooms['launch.plan']>[0];

/** How long a program that starts is expected to be getting its memory. */
const hintLifeMs = 60_000;

/** The hierarchy that programs are placed in: the one that tells and shares their memory. */
function hierarchyOf({ memory, pressureRoot }: Places): Hierarchy | undefined {
  if (memory) return { at: memory.root, version: memory.version, controllers: ['memory'] };
  return pressureRoot === undefined ? undefined : { at: pressureRoot, version: 2, controllers: [] };
}

/** Where systemd makes its groups. */
const unifiedHierarchy = (): Hierarchy | undefined =>
  readHierarchies().find(({ version }) => version === 2);

/** What is known of the application by now. */
async function launchOf(
  applications: ProfilesRoom,
  { app, executable, profile }: Asked,
  caller: Request['caller'],
): Promise<Launch> {
  const catalogue = await applications.forLaunch(caller);
  const found = launched(catalogue, applications.fileAt, { app, executable });
  return { ...found, wish: profile, obstacles: fastObstacles() };
}

/** The plan by its profile. What stands in the way of `secure` is looked at only where that is what it comes to. */
async function plannedFor(
  secure: SecureLaunches,
  launch: Launch,
  { app, enclave, grants = [] }: Asked,
  caller: Request['caller'],
): Promise<LaunchPlan> {
  let plan = planLaunch(launch);
  if (plan.profile === 'secure') {
    const home = enclave ?? statedEnclave(launch);
    const obstacles = await failingClosed(app, () => secure.obstacles(caller, home));
    plan = planLaunch({ ...launch, obstacles });
  }
  // Who grants something counts on everything else being kept from the program, whatever it was to be at first.
  if (plan.profile !== 'secure' && (enclave !== undefined || grants.length > 0))
    throw new PersonaError('profile-unavailable', {
      app,
      profile: 'secure',
      reason: `grants and enclaves are for what runs apart, and it would start as ${plan.profile}: ${plan.reason}`,
    });
  return plan;
}

type Answered = Answer<'launch.plan'>;
/** A plan without what is only for the daemon. */
type Said = Omit<Answered, 'app' | 'placement'>;

/** As standard after all, aloud. */
const without = (plan: Said, why: string): Said => ({
  ...plan,
  profile: 'standard',
  reason: `${plan.reason}; ${why}`,
  notices: [...plan.notices, `it starts as standard: ${why}`],
});

/** A launch whose folders are to lie in memory. */
interface Planned {
  plan: LaunchPlan;
  start: Start;
  request: Request;
  /** When it was asked for, of `performance.now`. */
  beganMs: number;
}

/** What launches are answered with. */
interface Ground extends Pick<LaunchParts, 'secure' | 'fast' | 'log'> {
  placements: Placements;
  late: LateLaunches;
  /** Of the hierarchy in which they are placed. */
  version: 1 | 2;
  loop: PartitionsRoom['loop'];
}

/** Answers such a launch; where its folders cannot be there, it is standard, and says so. */
async function inMemory(
  ground: Ground,
  { plan, start, request, beganMs }: Planned,
): Promise<Pick<Answered, 'placement'> & Said> {
  const { fast, version, placements, late } = ground;
  const { memoryBytes: _, weights: __, served, ...said } = plan;
  const { app } = start;
  const { caller } = request;
  const standard = (why: string) => ({
    ...without(said, why),
    placement: followed(ground, app, caller, { ...start, profile: 'standard' }),
  });
  if (placements.obstacle !== undefined) return standard(placements.obstacle);
  const entered = await fast.enter(app, served, caller, beganMs);
  if ('refused' in entered)
    throw new PersonaError('profile-unavailable', {
      app,
      profile: 'fast',
      reason: entered.refused,
    });
  if ('standard' in entered) return standard(entered.standard);
  // It is waited for: what runs in memory is known by its group.
  const { folder, ...placement } = await placements.place(app, caller, start);
  if (folder === undefined) {
    late.unplaced(caller, start);
    entered.session.decline();
    return { ...without(said, 'it has no group of its own'), placement };
  }
  const standardNow = (why: string) => {
    const plan = without(said, why);
    const { profile, reason } = plan;
    if (placement.state === 'follows') placements.tell(placement.group, { profile, reason });
    return { ...plan, placement };
  };
  const placed = await fast
    .serve(entered.session, caller, { folder, version }, beganMs)
    .catch((err: unknown) => {
      // Its launcher starts it on the disk: whoever counts on the list must not take it for one in memory.
      ground.log.warn({ err, app }, 'cannot put a launch into memory');
      const why = err instanceof Error ? err.message : String(err);
      return { standard: `it could not be put into memory: ${why}` };
    });
  if ('standard' in placed) return standardNow(placed.standard);
  unlessTaken(request.gone, () => {
    standardNow('its launcher did not wait for the answer');
    placed.withdraw().catch((err) => ground.log.warn({ err, app }, 'cannot take a launch back'));
  });
  return { ...said, argv: placed.argv, placement };
}

/** Answers a launch that is planned, and has it placed. */
async function answered(
  ground: Ground,
  { asked, launch, planned }: { asked: Asked; launch: Launch; planned: LaunchPlan },
  request: Request,
  beganMs: number,
): Promise<Answered> {
  const { secure, placements, late, loop } = ground;
  const { caller, dryRun } = request;
  const { application, recognised } = launch;
  const { memoryBytes, weights, served: _, ...chosen } = planned;
  const byFile = recognised.by === 'executable';
  // Of what only goes by its name nothing is granted.
  const known = byFile ? { application } : {};
  const enclave = asked.enclave ?? statedEnclave(launch);
  const apart =
    chosen.profile === 'secure'
      ? await secure.way({ ...asked, ...known, enclave }, caller)
      : undefined;
  const notices = [...chosen.notices, ...(apart?.way.notices ?? [])];
  const plan = { ...chosen, ...apart?.way, notices };
  const { app } = asked;
  if (dryRun) {
    const reason = placements.obstacle ?? 'nothing is started';
    const assurance = apart && secure.assurance(apart.launch);
    return {
      app,
      ...plan,
      ...(assurance && { assurance }),
      placement: { state: 'none', reason },
    };
  }
  if (apart !== undefined) secure.began(apart.launch, caller);
  // Before it is placed, which may make it a late one again.
  late.answered(caller);
  const { profile, rule, reason } = plan;
  const id = recognised.by === 'nothing' ? app : application.id;
  const start = { app: id, profile, rule, reason, recognised: byFile, weights };
  if (memoryBytes !== undefined) {
    const expiresAtMs = boottimeMs() + hintLifeMs;
    loop.announce({ type: app, side: 'user', bytes: memoryBytes, expiresAtMs });
  }
  if (plan.profile === 'fast')
    return { app, ...(await inMemory(ground, { plan: planned, start, request, beganMs })) };
  return { app, ...plan, placement: followed(ground, app, caller, start) };
}

type Start = Parameters<Placements['follow']>[2];

/** Has a launch placed behind its answer; where there are too many just now, later. */
function followed(
  { placements, late }: Pick<Ground, 'placements' | 'late'>,
  app: string,
  caller: Request['caller'],
  start: Start,
): Answered['placement'] {
  const placement = placements.follow(app, caller, start);
  if (placement.state === 'none') late.unplaced(caller, start);
  return placement;
}

/** Calls back when the launcher has gone without having read the answer that is about to be sent. */
function unlessTaken(gone: AbortSignal, back: () => void): void {
  const look = () => {
    if (failedWith(gone.reason, 'EPIPE', 'ECONNRESET')) back();
  };
  if (gone.aborted) back();
  else gone.addEventListener('abort', look);
}

/** Measures what runs, and the disks of those whose applications may gain by it. */
function openMeasuring(
  { applications, fast, log, degraded }: LaunchParts,
  folderOf: (group: string) => string,
  version: 1 | 2,
): Measuring {
  const speeds = new DiskSpeeds({
    look: (owner) => fast.speedOf(owner),
    nowMs: boottimeMs,
    log,
  });
  return new Measuring({
    use: (group) => readGroupUse(folderOf(group), version),
    count: (group) => countSyncs(() => processesOf(folderOf(group))),
    learn: async (account, app, run, of) => {
      if (degraded !== undefined) return;
      const application = applications.known(account).application(app);
      const { syncs, ...uncounted } = run;
      const mounts = readMountinfo();
      const seen = fast.dataOf(account, application).every((path) => countsSyncs(path, mounts));
      const told = seen ? run : uncounted;
      await applications.needs.learn(account, app, told);
      // Its disk is looked at when it has ended, and nobody waits for it.
      if (of.profile !== 'standard' || !mayGain(application)) return;
      const speed = of.ended ? await speeds.of(account) : speeds.known(account);
      if (speed !== undefined) await applications.needs.learn(account, app, { ...told, ...speed });
    },
    nowMs: boottimeMs,
    log,
  });
}

/** What is known of programs that run: those that were started through the daemon, and those that were found. */
function openRunning(parts: LaunchParts) {
  const { partitions, log, accountOf } = parts;
  const managed = managerRuns();
  const unified = unifiedHierarchy();
  const { places } = partitions;
  const groups = managed ? scopes(unified) : ownGroups(hierarchyOf(places), places.groups.user);
  const version = managed ? 2 : (hierarchyOf(places)?.version ?? 2);
  const measuring = openMeasuring(parts, (group) => groups.folder(group), version);
  const pins = openPins(parts, groups);
  partitions.loop.alongside(() => {
    measuring.look();
    if (pins.bytes > 0 && isShort(partitions.loop)) void pins.relieve();
  });
  const running = new Running({
    began(one) {
      measuring.began(one);
      pins.began(one);
    },
    ended(group) {
      measuring.ended(group);
      pins.ended(group);
    },
  });
  const now = wallMs;
  const apart = () => parts.secure.programs();
  const placements = new Placements({ groups, running, accountOf, apart, now, log });
  const found = openFound({
    ...parts,
    placements,
    running,
    unified: managed ? unified : undefined,
  });
  return {
    placements,
    running,
    pins,
    version,
    folderOf: (group: string) => groups.folder(group),
    memoryOf(group: string): number | undefined {
      return readGroupMemory(groups.folder(group), version)?.currentBytes;
    },
    late: found.late,
    /** All that run, the last started first. */
    list: (account?: number) =>
      [...found.staying.list(account), ...running.list(account)].sort(
        (one, other) => other.sinceMs - one.sinceMs,
      ),
    async start(): Promise<void> {
      await placements.recover();
      await found.start();
    },
    async close(): Promise<void> {
      await found.close();
      await measuring.close();
      await pins.close();
      await placements.close();
    },
  };
}

/** What a request that nobody has checked calls its application. */
function claimedIn(params: unknown): string | undefined {
  const app = (params as { app?: unknown } | undefined | null)?.app;
  return typeof app === 'string' && applicationIdPattern.test(app) ? app : undefined;
}

type LaunchMethods = Pick<
  Rooms,
  'launch.plan' | 'launch.apart' | 'launch.list' | 'launch.verify' | 'app.sync'
>;

/** Tells whether an instance of an application works on the disk of a user. */
const onDisk =
  (
    list: (account: number) => RunningApplication[],
    accountOf: LaunchParts['accountOf'],
    { version, folderOf }: { version: 1 | 2; folderOf(group: string): string },
  ) =>
  (app: string, uid: number): boolean =>
    list(accountOf(uid)).some((one) => {
      const group = { version, folder: folderOf(one.group), freezable: false };
      return one.app === app && one.profile === 'standard' && isPopulated(group);
    });

/** Programs of one answer. */
const LIST_MAX = 1_000;

/** Opens the part of the daemon that plans launches, and knows what runs. */
export function openLaunches(parts: LaunchParts) {
  const { applications, partitions, secure, fast } = parts;
  const { loop } = partitions;
  const { placements, pins, list, late, memoryOf, folderOf, version, ...found } =
    openRunning(parts);
  const ground = { secure, fast, version, placements, late, loop, log: parts.log };
  const seen = (uid: number) => list(uid === 0 ? undefined : parts.accountOf(uid));
  const methods: LaunchMethods = {
    ...secure.methods,
    'launch.verify': ({ app }, { caller }) =>
      verifyAll(
        seen(caller.uid).filter((one) => app === undefined || one.app === app),
        { secure, fast, applications, folderOf },
      ),
    ...fast.methods,
    async 'launch.plan'(asked: Asked, request: Request) {
      const beganMs = performance.now();
      const launch = await launchOf(applications, asked, request.caller);
      const planned = await plannedFor(secure, launch, asked, request.caller);
      const answer = () => answered(ground, { asked, launch, planned }, request, beganMs);
      return planned.profile === 'secure' ? await failingClosed(asked.app, answer) : await answer();
    },
    'launch.list': (_, { caller }) => {
      const all = seen(caller.uid);
      const obstacle = placements.obstacle;
      return {
        applications: all.slice(0, LIST_MAX).map((one) => {
          const memoryBytes = one.shared ? undefined : memoryOf(one.group);
          return { ...runningPage(one), ...(memoryBytes !== undefined && { memoryBytes }) };
        }),
        more: Math.max(0, all.length - LIST_MAX),
        ...(obstacle !== undefined && { obstacle }),
      };
    },
  };
  return {
    methods,
    /** Takes up what an earlier daemon has left. */
    async recover(engine: Engine): Promise<void> {
      await found.start();
      await fast.over(engine, onDisk(list, parts.accountOf, { version, folderOf }));
    },
    async close(withinMs: number): Promise<void> {
      await fast.sessions.close(withinMs);
      secure.close();
      await found.close();
    },
    /** A caller got no answer, as there were too many. */
    refused: (
      caller: Pick<Request['caller'], 'pid' | 'uid'>,
      asked?: { method: string; params: unknown },
    ) => {
      if (asked === undefined || asked.method === 'launch.plan')
        late.refused(caller, claimedIn(asked?.params));
    },
    notices: () => violationNotices(list()),
    /** What of an application is kept in memory now. */
    kept(account: number, app: string) {
      const page = pins.pages(account).find((one) => one.app === app);
      return page && { files: page.files, bytes: page.bytes };
    },
    /** What runs, for the status page. */
    status: {
      running: (uid = 0) =>
        runningStatus(seen(uid), { secure, fast }, partitions.places.groups.user),
      pinned: () => pinnedPages(pins),
    },
  };
}

/** That something runs which must be kept apart; what it is, only its user and root may know. */
function violationNotices(
  running: readonly RunningApplication[],
): { text: string; command: string }[] {
  const count = running.filter(({ violation }) => violation !== undefined).length;
  if (count === 0) return [];
  const programs = count === 1 ? 'a program runs' : `${count} programs run`;
  const text = `${programs} past personad, and must be kept apart`;
  return [{ text, command: 'personactl app running' }];
}
