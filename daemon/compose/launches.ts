import type { Request, Rooms } from '../api/rooms.ts';
import type { Log } from '../changes/log.ts';
import { type Hierarchy, readHierarchies } from '../kernel/cgroups.ts';
import { boottimeMs } from '../kernel/clock.ts';
import { managerRuns } from '../kernel/unit-properties.ts';
import type { Places } from '../partitions/places.ts';
import type { PartitionsRoom } from '../partitions/room.ts';
import { everywhere, type Launch, type LaunchPlan, planLaunch } from '../profiles/launch-plan.ts';
import { launched } from '../profiles/launched.ts';
import { ownGroups } from '../profiles/own-groups.ts';
import { Placements } from '../profiles/placements.ts';
import type { ProfilesRoom } from '../profiles/room.ts';
import { scopes } from '../profiles/scopes.ts';
import type { SecureLaunches } from './secure-launches.ts';

/** What launches are planned with. */
export interface LaunchParts {
  partitions: PartitionsRoom;
  applications: ProfilesRoom;
  secure: SecureLaunches;
  log: Log;
  accountOf(uid: number): number;
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
  return { ...found, wish: profile, obstacles: everywhere };
}

/** The plan by its profile. What stands in the way of `secure` is looked at only where that is what it comes to. */
async function plannedFor(
  secure: SecureLaunches,
  launch: Launch,
  { enclave }: Asked,
  caller: Request['caller'],
): Promise<LaunchPlan> {
  const plan = planLaunch(launch);
  if (plan.profile !== 'secure') return plan;
  return planLaunch({ ...launch, obstacles: await secure.obstacles(caller, enclave) });
}

/** Opens the part of the daemon that plans launches. */
export function openLaunches({ partitions, applications, secure, log, accountOf }: LaunchParts) {
  const { places, loop } = partitions;
  const placements = new Placements({
    groups: managerRuns()
      ? scopes(unifiedHierarchy())
      : ownGroups(hierarchyOf(places), places.groups.user),
    accountOf,
    log,
  });
  const methods: Pick<Rooms, 'launch.plan' | 'launch.apart'> = {
    ...secure.methods,
    async 'launch.plan'(asked: Asked, { caller, dryRun }: Request) {
      const launch = await launchOf(applications, asked, caller);
      const { memoryBytes, weights, ...chosen } = await plannedFor(secure, launch, asked, caller);
      const apart = chosen.profile === 'secure' ? await secure.way(asked, caller) : undefined;
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
      if (memoryBytes !== undefined) {
        const expiresAtMs = boottimeMs() + hintLifeMs;
        loop.announce({ type: app, side: 'user', bytes: memoryBytes, expiresAtMs });
      }
      return { app, ...plan, placement: placements.follow(app, caller, weights) };
    },
  };
  return {
    methods,
    recover: () => placements.recover(),
    close: () => placements.close(),
  };
}
