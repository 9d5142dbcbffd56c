import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import { bootId, boottimeMs } from '../kernel/clock.ts';
import { lockFile } from '../kernel/files.ts';
import { managerRuns } from '../kernel/unit-properties.ts';
import { LeaseBook } from './lease-book.ts';
import type { LeaseGuard } from './lease-guard.ts';
import { Leases, type Returned } from './leases.ts';
import { leaseFile, machineGround } from './machine-ground.ts';

/** The leases of this machine, with those that a daemon that was killed has left. Throws when the file is none of ours. */
export function openLeases(run: string, guard?: LeaseGuard): Leases {
  const book = LeaseBook.open(leaseFile(join(run, runPlaces.leases)));
  return new Leases({
    book,
    ground: machineGround(managerRuns()),
    boot: bootId(),
    now: boottimeMs,
    guard,
  });
}

/**
 * Gives back every knob that a daemon which does not run any more has left, for the time after a kill. A line for each
 * that there was something to say of.
 */
export async function restoreKnobs({ run, state }: Paths): Promise<string[]> {
  if (!existsSync(join(run, runPlaces.leases))) return [];
  const lock = await lockFile(join(state, statePlaces.lock));
  if (lock === undefined) return ['a daemon runs: what it has set is left alone'];
  using _ = lock;
  const leases = openLeases(run);
  const returned = await leases.releaseAll();
  return [...(leases.problem === undefined ? [] : [leases.problem]), ...returned.map(lineOf)];
}

function lineOf({ lease: { group, knob, old }, state, detail }: Returned): string {
  if (state === 'restored') return `${knob} of ${group} is ${old} again`;
  if (state === 'gone') return `${group}, whose ${knob} was set, has gone`;
  if (state === 'changed-since')
    return `${knob} of ${group} is ${detail} now, set by another program: left alone`;
  return `cannot set ${knob} of ${group} back to ${old}: ${detail}`;
}
