import type { Request, Rooms } from '../api/rooms.ts';
import type { Log } from '../changes/log.ts';
import { type Hierarchy, readHierarchies } from '../kernel/cgroups.ts';
import { boottimeMs } from '../kernel/clock.ts';
import { managerRuns } from '../kernel/unit-properties.ts';
import type { Places } from '../partitions/places.ts';
import type { PartitionsRoom } from '../partitions/room.ts';
import { type Launch, planLaunch } from '../profiles/launch-plan.ts';
import { launched } from '../profiles/launched.ts';
import { ownGroups } from '../profiles/own-groups.ts';
import { Placements } from '../profiles/placements.ts';
import type { ProfilesRoom } from '../profiles/room.ts';
import { scopes } from '../profiles/scopes.ts';

/** What launches are planned with. */
export interface LaunchParts {
  partitions: PartitionsRoom;
  applications: ProfilesRoom;
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
  return { ...launched(catalogue, applications.fileAt, { app, executable }), wish: profile };
}

/** Opens the part of the daemon that plans launches. */
export function openLaunches({ partitions, applications, log, accountOf }: LaunchParts) {
  const { places, loop } = partitions;
  const placements = new Placements({
    groups: managerRuns()
      ? scopes(unifiedHierarchy())
      : ownGroups(hierarchyOf(places), places.groups.user),
    accountOf,
    log,
  });
  const methods: Pick<Rooms, 'launch.plan'> = {
    async 'launch.plan'(asked: Asked, { caller, dryRun }: Request) {
      const launch = await launchOf(applications, asked, caller);
      const { memoryBytes, weights, ...plan } = planLaunch(launch);
      const { app } = asked;
      if (dryRun) {
        const reason = placements.obstacle ?? 'nothing is started';
        return { app, ...plan, placement: { state: 'none', reason } };
      }
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
