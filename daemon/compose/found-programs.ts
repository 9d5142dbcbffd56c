import type { Settings } from '../config/settings.ts';
import type { Hierarchy } from '../kernel/cgroups.ts';
import { wallMs } from '../kernel/clock.ts';
import { Detector } from '../profiles/detector.ts';
import { LateLaunches } from '../profiles/late-launches.ts';
import { PastStarts } from '../profiles/past-starts.ts';
import type { Placements } from '../profiles/placements.ts';
import { ProgramWatch } from '../profiles/program-watch.ts';
import type { Running } from '../profiles/running.ts';
import { USERS } from '../profiles/scopes.ts';
import { Staying } from '../profiles/staying.ts';
import { UserScopes } from '../profiles/user-scopes.ts';
import type { ViolationPolicy } from '../profiles/violation.ts';
import type { LaunchParts } from './launches.ts';

/** What programs are found by. */
interface FoundParts extends Pick<LaunchParts, 'applications' | 'log' | 'accountOf'> {
  settings: Settings;
  placements: Placements;
  running: Running;
  /** Where systemd makes its groups; undefined where it does not run. */
  unified: Hierarchy | undefined;
}

/** Finds the programs that were started without the daemon, or without an answer of it. */
export function openFound(parts: FoundParts) {
  const { applications, placements, running, settings, log, accountOf, unified } = parts;
  const policy = settings.values['profiles.violation'] as ViolationPolicy;
  const known = { applications, accountOf, running, policy, log, now: wallMs };
  const at = unified?.at ?? '';
  const isLaunched = (pid: number) => placements.isPlacing(pid);
  const detector = new Detector({ ...known, at, isLaunched });
  const desktops = new UserScopes(at, detector);
  const staying = new Staying();
  const looked = (group: string) => detector.looked(group);
  const past = new PastStarts({ ...known, placements, staying, looked });
  const late = new LateLaunches({
    ...{ placements, past, accountOf },
    failed: (err) => log.warn({ err }, 'cannot place a launch that was refused'),
  });
  const programs = new ProgramWatch({
    // Where nothing could be done nothing is looked for.
    sought: async () => (placements.obstacle === undefined ? await applications.sought() : []),
    open: (path) => applications.openFile(path),
    found: (pid) => past.take(pid),
    log,
  });
  return {
    staying,
    late,
    async start(): Promise<void> {
      if (unified !== undefined) await desktops.start(USERS);
      applications.onChange(() => programs.changed());
      programs.changed();
    },
    async close(): Promise<void> {
      desktops.close();
      await late.close();
      await programs.close();
      await detector.close();
    },
  };
}
