import { execFileSync } from 'node:child_process';
import { managerRuns } from '../daemon/kernel/unit-properties.ts';
import { longScope } from '../test/security/live-daemon.ts';
import { as, bootInstalled, type Installed, needs, users } from '../test/service/installed.ts';
import { enter } from '../test/support/container-life.ts';
import { lacking } from '../test/support/needs.ts';
import type { Bar } from './bar.ts';
import type { Ground } from './ground.ts';
import {
  apartByBwrap,
  LASTING,
  overPlain,
  PROGRAM,
  startTimes,
  unmeasured,
} from './start-times.ts';

// Starts under systemd, which makes a scope for each: on this machine, where it is PID 1 here, else in a Debian in namespaces.

const names = {
  standard: 'start by persona-run into a scope of systemd over plain exec',
  secure: 'secure start by persona-run into a scope of systemd over plain exec',
};
const LOOK_MS = 30_000;
/** Ends well once it is in a scope of its own, and badly when that does not come. */
const untilPlaced = [
  ...['/bin/sh', '-c'],
  'set -e; n=0; until grep -q /app-personad- /proc/self/cgroup; do n=$((n+1)); test $n -lt 100; sleep 0.05; done',
];

/** Words that start what follows in a scope of this slice. */
export const inScope = (slice: string, uid = 0): string[] => [
  ...['systemd-run', '--scope', '--quiet', `--uid=${uid}`, `--slice=${slice}`, '--'],
];

/** Where systemd runs: words that start what follows there, as a user in a session. */
interface Place {
  session: readonly string[];
  launcher: string;
  floor: string;
}

/** Starts of standard and secure; what cannot be measured here says why, and keeps nothing else from being measured. */
export async function scopeBars(ground: Ground, floor: string, rounds: number): Promise<Bar[]> {
  const scope = longScope();
  try {
    if (managerRuns()) return await onThisMachine(ground, floor, rounds);
    const reason = lacking(needs);
    if (reason !== undefined) throw new Error(reason);
    const place = await prepared(await bootInstalled(scope, { suite: 'trixie' }), floor);
    return [await standard(place, rounds), await secure(place, rounds)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return Object.values(names).map((name) => unmeasured(name, reason));
  } finally {
    await scope.end();
  }
}

/** Of root, who has no enclave here. */
async function onThisMachine({ dist }: Ground, floor: string, rounds: number): Promise<Bar[]> {
  const place = { session: inScope('user-0.slice'), launcher: `${dist}/persona-run`, floor };
  const apart = unmeasured(names.secure, 'systemd runs here: only in a machine of its own');
  return [await standard(place, rounds), apart];
}

/** The session of a user with an open enclave. */
async function prepared(machine: Installed, floor: string): Promise<Place> {
  machine.copyIn(floor, '/usr/local/bin/start-floor');
  const slice = `user-${users.owner}.slice`;
  // The slice of a user stops with the last of his sessions, and nothing starts in it meanwhile.
  const lasts = ['systemd-run', '--quiet', '--unit=session', `--slice=${slice}`];
  await machine.ok([...lasts, 'sleep', 'infinity']);
  const key = '/home/owner/key';
  const user = as(machine, 'owner');
  await machine.ok(['tee', key], { ...user, input: 'a key' });
  for (const words of [
    ['create', 'vault', '--size', '16M'],
    ['open', 'vault'],
  ])
    await machine.tool(['enclave', ...words, '--key-file', key], user);
  return {
    session: ['nsenter', ...enter(machine.pid(), inScope(slice, users.owner), undefined)],
    launcher: '/usr/bin/persona-run',
    floor: '/usr/local/bin/start-floor',
  };
}

async function standard({ session, launcher, floor }: Place, rounds: number): Promise<Bar> {
  const [file = '', ...words] = session;
  execFileSync(file, [...words, launcher, 'bench', '--', ...untilPlaced], { timeout: LOOK_MS });
  const times = await startTimes(
    [...session, floor],
    {
      plain: LASTING,
      'persona-run': [launcher, 'bench', '--', ...LASTING],
    },
    rounds,
  );
  return overPlain(names.standard, 'persona-run', 3, rounds, times);
}

async function secure({ session, launcher, floor }: Place, rounds: number): Promise<Bar> {
  const times = await startTimes(
    [...session, floor],
    {
      plain: [PROGRAM],
      'persona-run': [launcher, '--profile', 'secure', 'bench', '--', PROGRAM],
      'bwrap with namespaces of its own': [...apartByBwrap, PROGRAM],
    },
    rounds,
  );
  return overPlain(names.secure, 'persona-run', 8, rounds, times);
}
