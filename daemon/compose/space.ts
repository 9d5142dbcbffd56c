import type { Answer } from '../../ipc/methods/index.ts';
import type { Plan } from '../changes/change.ts';
import type { Engine } from '../changes/engine.ts';
import type { Log } from '../changes/log.ts';
import type { Settings } from '../config/settings.ts';
import { boottimeMs, wallMs } from '../kernel/clock.ts';
import type { PartitionsRoom } from '../partitions/room.ts';
import { type SpaceDecision, type SpaceGround, SpaceLoop } from '../partitions/space-loop.ts';
import type { SpaceMove } from '../partitions/space-step.ts';
import type { Check } from '../system/doctor.ts';
import { planMove, useOf } from '../volumes/plan-move.ts';
import type { VolumesRoom } from '../volumes/room.ts';
import { volumeNames } from '../volumes/volume.ts';

type ShowPage = NonNullable<Answer<'partitions.show'>['space']>;
type ExplainPage = NonNullable<Answer<'partitions.explain'>['space']>;

/** What the sizes of volumes are governed with. */
export interface GovernorParts {
  settings: Settings;
  log: Log;
  /** For tests: milliseconds since boot. */
  hooks?: { governClock?: () => number };
}

/** Who decides how large both volumes are. */
export interface Governor {
  loop: SpaceLoop;
  /** The settings ask for it. */
  on: boolean;
  /** The change that a move is. */
  plan(move: SpaceMove, why: string): Plan;
  /** From now on moves are changes of this engine. */
  over(engine: Engine): void;
  phase(now: 'starting' | 'ready' | 'stopping'): void;
  governed(): Answer<'volume.list'>['governed'];
  /** Absent where there is no volume. */
  show(): ShowPage | undefined;
  explain(): ExplainPage | undefined;
  notices(): { text: string; command: string }[];
  check(): Check | undefined;
}

function groundOf(volumes: VolumesRoom, engine: () => Engine | undefined): SpaceGround {
  return {
    look() {
      const [user, system] = [useOf(volumes, 'user'), useOf(volumes, 'system')];
      if ('obstacle' in user) return user;
      return 'obstacle' in system ? system : { user, system };
    },
    async move(move, why) {
      const changes = engine();
      if (changes === undefined) throw new Error('no changes are taken');
      const { changeId, done } = await changes.submit(planMove(volumes, { ...move, why }));
      const { status, result, error } = await done;
      if (status !== 'done') throw new Error(error?.message ?? `the change is ${status}`);
      return { change: changeId, bytes: Number((result as { bytes?: number }).bytes ?? 0) };
    },
  };
}

function decisionPage({ move, ...rest }: SpaceDecision): ExplainPage['moves'][number] {
  return { ...rest, ...(move && { move }) };
}

/** Opens it; nothing is looked at before callers are served, and never where the settings do not ask for it. */
export function openGovernor(
  { settings, log, hooks }: GovernorParts,
  partitions: PartitionsRoom,
  volumes: VolumesRoom,
): Governor {
  const on = settings.values['volumes.govern'] === 'on';
  let engine: Engine | undefined;
  const loop = new SpaceLoop({
    ground: groundOf(volumes, () => engine),
    choice: () => partitions.loop.choice,
    log,
    nowMs: hooks?.governClock ?? boottimeMs,
    wallMs,
  });
  const anyVolume = () => volumeNames.some((name) => volumes.isKnown(name));
  const governed = () => ({
    on,
    policy: partitions.loop.choice.policy.name,
    ...(on && loop.obstacle !== undefined ? { obstacle: loop.obstacle } : {}),
  });
  return {
    loop,
    on,
    plan: (move, why) => planMove(volumes, { ...move, why }),
    over(changes) {
      engine = changes;
    },
    phase(now) {
      if (now === 'ready' && on && engine !== undefined) loop.start();
      if (now === 'stopping') loop.stop();
    },
    governed,
    show() {
      if (!anyVolume()) return undefined;
      const sides = volumeNames.flatMap((side) => {
        const use = useOf(volumes, side);
        if ('obstacle' in use) return [];
        const { sizeBytes, usedBytes, mostBytes } = use;
        return [{ side, sizeBytes, usedBytes, mostBytes }];
      });
      return { ...governed(), sides };
    },
    explain() {
      if (!on) return undefined;
      const { decision, moves } = loop;
      return { ...(decision && { last: decisionPage(decision) }), moves: moves.map(decisionPage) };
    },
    notices() {
      const { failure } = loop;
      if (failure === undefined) return [];
      const text = `space is not moved between the volumes: ${failure.text}. It is tried again by itself`;
      return [{ text, command: 'personactl partitions explain' }];
    },
    check() {
      if (!anyVolume()) return undefined;
      const { failure, obstacle } = loop;
      const name = 'sizes of volumes';
      if (!on) return { name, state: 'ok', detail: 'they stay as they are' };
      if (failure !== undefined)
        return {
          name,
          state: 'warning',
          detail: failure.text,
          fix: '`personactl partitions explain` says when it is tried again.',
        };
      const { policy } = governed();
      const detail = obstacle === undefined ? `governed by ${policy}` : `not governed: ${obstacle}`;
      return { name, state: 'ok', detail };
    },
  };
}
