import { existsSync, readdirSync } from 'node:fs';
import type { Properties } from '../kernel/asked-properties.ts';
import { failedWith } from '../kernel/errno.ts';
import { unitOf } from '../kernel/unit-properties.ts';
import { sides } from './observation.ts';
import type { Places } from './places.ts';

/** What systemd-oomd is to end programs of a unit for. */
export interface OomdKill {
  unit: string;
  /** The setting that says so. */
  setting: 'ManagedOOMMemoryPressure' | 'ManagedOOMSwap';
  /** The pressure that it takes; absent: as oomd.conf has it. */
  limitPercent?: number;
}

/** Properties of a unit that say what systemd-oomd does with it (systemd.resource-control(5)). */
const LIMIT = 'ManagedOOMMemoryPressureLimit';
const SETTINGS = ['ManagedOOMMemoryPressure', 'ManagedOOMSwap'] as const;
/** All of the pressure that there can be, as the manager counts it. */
const FULL = 0xffff_ffff;
/** Sessions of more users are not asked for. */
const sessionsMax = 32;
/** Settings change seldom, and whoever watches a page asks every second. */
const askAgainMs = 10_000;

/** Asks the service manager for properties of units, by their names. */
type Ask = (
  units: readonly string[],
  names: readonly string[],
) => Promise<ReadonlyMap<string, Properties>>;

function foldersOf(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return [];
    throw error;
  }
}

/** What both sides are in: distributions have systemd-oomd look after its swap, and after users' sessions. */
const ALL = '-.slice';

/** The units of both sides, what they are in, and users' sessions. */
export function unitsOfSides({ memory, pressureRoot, groups }: Places): string[] {
  const root = pressureRoot ?? memory?.root;
  if (root === undefined) return [];
  const there = sides.filter((side) => existsSync(`${root}/${groups[side]}`));
  const sessions = foldersOf(`${root}/${groups.user}`)
    .flatMap((name) => /^user-(\d{1,10})\.slice$/.exec(name)?.[1] ?? [])
    .filter((uid) => existsSync(`${root}/${groups.user}/user-${uid}.slice/user@${uid}.service`))
    .slice(0, sessionsMax);
  return [
    ALL,
    ...there.flatMap((side) => unitOf(groups[side]) ?? []),
    ...sessions.map((uid) => `user@${uid}.service`),
  ];
}

/** The settings among properties of units by which programs are ended. Pure. */
export function killsIn(properties: ReadonlyMap<string, Properties>): OomdKill[] {
  return [...properties].flatMap(([unit, of]) =>
    SETTINGS.filter((setting) => of[setting] === 'kill').map((setting) => {
      const limit = setting === 'ManagedOOMMemoryPressure' ? Number(of[LIMIT] ?? 0) : 0;
      return {
        unit,
        setting,
        ...(limit > 0 && { limitPercent: Math.round((limit / FULL) * 100) }),
      };
    }),
  );
}

/** What systemd-oomd is told of both sides, for whoever wants to know: it is asked for then, and not by polling. Never throws. */
export function openOomdSettings(
  places: Places,
  ask: Ask,
  nowMs: () => number,
): () => Promise<OomdKill[]> {
  let last: { atMs: number; kills: Promise<OomdKill[]> } | undefined;
  const look = async () => killsIn(await ask(unitsOfSides(places), [...SETTINGS, LIMIT]));
  return () => {
    if (last === undefined || nowMs() - last.atMs >= askAgainMs)
      // A manager that does not answer is busy, or not there: nothing can be told then.
      last = { atMs: nowMs(), kills: look().catch(() => []) };
    return last.kills;
  };
}
