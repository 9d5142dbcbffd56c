import { PersonaError } from '../../ipc/errors.ts';
import type { ApplicationLine, ApplicationPage, Explanation } from '../../ipc/methods/shapes.ts';
import type { Checked, Request, Rooms } from '../api/rooms.ts';
import type { AnyTask } from '../changes/task.ts';
import { type Application, factOf, type Known } from '../profiles/application.ts';
import type { Catalogue, FileAt } from '../profiles/catalogue.ts';
import { factNames } from '../profiles/fact-values.ts';
import type { Obstacles } from '../profiles/launch-plan.ts';
import { launched, startedAs } from '../profiles/launched.ts';
import { type ProfilesParts, ProfilesRoom } from '../profiles/room.ts';
import { choose, isStated } from '../profiles/selection.ts';
import { applicationTasks, planState } from '../profiles/state-facts.ts';
import { statedEnclave } from '../profiles/stated-grants.ts';

type AppMethods = Pick<Rooms, Exclude<Extract<keyof Rooms, `app.${string}`>, 'app.sync'>>;

/** Applications of one answer. */
const LIST_MAX = 1_000;

function mustBeKnown(catalogue: Catalogue, app: string): Application {
  if (!catalogue.has(app)) throw new PersonaError('app-not-found', { app });
  return catalogue.application(app);
}

function pageOf({ id, facts }: Application): ApplicationPage {
  const all = factNames.flatMap((fact) =>
    ((facts[fact] ?? []) as readonly Known<unknown>[]).map(({ value, ...origin }) => ({
      fact,
      value: value as ApplicationPage['facts'][number]['value'],
      ...origin,
    })),
  );
  return { id, facts: all };
}

/** Why profiles cannot be had, with this enclave as home. */
type ObstaclesWith = (enclave: string | undefined) => Promise<Obstacles>;

/** The same, each enclave looked at once. */
function once(look: ObstaclesWith): ObstaclesWith {
  const known = new Map<string | undefined, Promise<Obstacles>>();
  return (enclave) => {
    const found = known.get(enclave) ?? look(enclave);
    known.set(enclave, found);
    return found;
  };
}

async function lineOf(
  catalogue: Catalogue,
  fileAt: FileAt,
  application: Application,
  obstaclesWith: ObstaclesWith,
): Promise<ApplicationLine> {
  const started = startedAs(catalogue, fileAt, application);
  const obstacles = await obstaclesWith(statedEnclave(started));
  const { profile, rule, refused } = choose({ ...started, obstacles });
  const name = factOf(application, 'name')?.value;
  return {
    id: application.id,
    ...(name === undefined ? {} : { name }),
    profile,
    rule,
    ...(refused === undefined ? {} : { refused }),
    executables: [...(factOf(application, 'executables')?.value ?? [])],
  };
}

async function listed(
  catalogue: Catalogue,
  fileAt: FileAt,
  obstaclesWith: ObstaclesWith,
  { match, stated = false }: Checked<'app.list'>,
) {
  const wanted = match?.toLowerCase();
  const fitting = catalogue.ids().filter((id) => {
    if (stated && !isStated(catalogue.application(id))) return false;
    if (wanted === undefined || id.toLowerCase().includes(wanted)) return true;
    const name = factOf(catalogue.application(id), 'name')?.value;
    return name?.toLowerCase().includes(wanted) === true;
  });
  const applications: ApplicationLine[] = [];
  for (const id of fitting.slice(0, LIST_MAX))
    applications.push(await lineOf(catalogue, fileAt, catalogue.application(id), obstaclesWith));
  return { applications, more: Math.max(0, fitting.length - LIST_MAX) };
}

async function explained(
  room: ProfilesRoom,
  catalogue: Catalogue,
  obstaclesWith: ObstaclesWith,
  { app, executable, profile: wish }: Checked<'app.explain'>,
  keptOf: (app: string) => Explanation['kept'],
): Promise<Explanation> {
  if (app === undefined && executable === undefined)
    throw new PersonaError('bad-value', { name: 'the application', reason: 'none is named' });
  const known = app === undefined ? undefined : mustBeKnown(catalogue, app);
  const found =
    executable === undefined && known !== undefined
      ? startedAs(catalogue, room.fileAt, known)
      : launched(catalogue, room.fileAt, { app, executable });
  const { application, recognised } = found;
  const obstacles = await obstaclesWith(statedEnclave(found));
  const choice = choose({ application, recognised, obstacles, ...(wish && { wish }) });
  const kept = keptOf(application.id);
  return {
    id: application.id,
    recognised: {
      by: recognised.by,
      ...(recognised.by === 'executable' && {
        path: recognised.path,
        ...(recognised.package && { package: recognised.package }),
      }),
    },
    ...choice,
    ...(kept && { kept }),
    measured: pageOf(application).facts.filter(({ source }) => source === 'measured'),
  };
}

/** The methods of applications. */
function applicationMethods(
  room: ProfilesRoom,
  { obstacles, kept }: Pick<ApplicationParts, 'obstacles' | 'kept'>,
): AppMethods {
  return {
    'app.list': async (params, { caller }) => {
      const obstaclesWith = once((enclave) => obstacles(caller, enclave));
      return await listed(await room.catalogue(caller), room.fileAt, obstaclesWith, params);
    },
    'app.show': async ({ app }, { caller }) => ({
      application: pageOf(mustBeKnown(await room.catalogue(caller), app)),
    }),
    'app.explain': async (params, { caller }) => {
      const catalogue = await room.catalogue(caller);
      const keptOf = (app: string) => kept(room.accountOf(caller.uid), app);
      const obstaclesWith: ObstaclesWith = (enclave) => obstacles(caller, enclave);
      return { explanation: await explained(room, catalogue, obstaclesWith, params, keptOf) };
    },
    'app.set': async ({ app, everybody = false, set = {}, unset = [] }, { caller }) => ({
      plan: await planState(room, { app, everybody, set, unset }, caller),
      answer: async () => ({
        application: pageOf((await room.catalogue(caller)).application(app)),
      }),
    }),
    'app.import': async (_, { caller }) => {
      const surveys = await room.readAgain(caller, caller.uid === 0);
      return {
        counts: surveys.flatMap(({ counts }) => counts),
        problems: surveys.flatMap(({ problems }) => problems),
        problemsMore: surveys.reduce((all, { problemsMore }) => all + problemsMore, 0),
        presets: surveys.flatMap(({ presets }) => presets),
      };
    },
  };
}

/** What the room of applications is opened with. */
export interface ApplicationParts extends ProfilesParts {
  degraded: string | undefined;
  /** Why profiles cannot be had by this caller, with this enclave as home. */
  obstacles(caller: Request['caller'], enclave: string | undefined): Promise<Obstacles>;
  /** What of an application of this account is kept in memory now. */
  kept(account: number, app: string): Explanation['kept'];
}

/** Opens the room of applications: its steps and methods. */
export function openApplications(parts: ApplicationParts): {
  room: ProfilesRoom;
  tasks: AnyTask[];
  methods: AppMethods;
  /** Reads ahead of the first launch. */
  start(): void;
  close(): Promise<void>;
} {
  const room = new ProfilesRoom(parts);
  return {
    room,
    tasks: applicationTasks(room),
    methods: applicationMethods(room, parts),
    start() {
      if (parts.degraded === undefined)
        room
          .warmUp()
          .catch((err: unknown) => parts.log.warn({ err }, 'cannot read ahead of applications'));
    },
    close: () => room.close(),
  };
}
