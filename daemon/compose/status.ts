import { readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import type { Rooms } from '../api/rooms.ts';
import type { Engine } from '../changes/engine.ts';
import type { Capabilities } from '../kernel/probe.ts';
import { slotPages } from '../personas/slot-pages.ts';
import type { SlotRoom } from '../personas/slot-room.ts';
import type { Store } from '../store/store.ts';
import { fallbacksOf } from '../system/doctor.ts';
import { quarantineNotices } from '../system/quarantine.ts';
import type { Space } from '../system/space.ts';
import type { UpperPlace } from '../system/upper-volume.ts';

/** What the status page is made from. */
export interface StatusParts {
  state: string;
  store: Store;
  space: Space;
  machine: Capabilities;
  uppers: UpperPlace;
  slots: SlotRoom;
  startedMs: number;
  engine: Engine;
  phase(): 'starting' | 'ready' | 'stopping';
  degraded: string | undefined;
  /** Damaged layers by digest, with what is wrong. */
  damaged: ReadonlyMap<string, string>;
  memory: Rooms['status']['memory'];
  /** What of other rooms wants a person. */
  moreNotices(): Promise<{ text: string; command: string }[]>;
}

/** The name the distribution gives itself; read anew never: it changes with an update of the system only. */
function osName(): string | undefined {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

async function countsOf(store: Store): Promise<{ bases: number; personas: number; slots: number }> {
  const row = await store.get(`SELECT (SELECT count(*) FROM bases) AS bases,
    (SELECT count(*) FROM personas) AS personas, (SELECT count(*) FROM slots) AS slots`);
  return {
    bases: Number(row?.bases ?? 0),
    personas: Number(row?.personas ?? 0),
    slots: Number(row?.slots ?? 0),
  };
}

/** Where uppers live; nothing is said where none can be kept. */
async function uppersPart({ machine, uppers }: StatusParts) {
  const volume = await uppers.usage();
  if (volume !== undefined) return { uppers: 'loop-volume' as const, volume };
  return machine.ways.uppers ? { uppers: 'direct' as const } : {};
}

/** The parts of `daemon.status`. */
export function statusParts(parts: StatusParts): Rooms['status'] {
  const { state, store, space, machine, uppers, slots, startedMs, engine, phase, degraded } = parts;
  const { damaged } = parts;
  const os = osName();
  const fallbacks = [...fallbacksOf(machine), ...uppers.fallbacks()];
  return {
    daemon() {
      const reason = degraded ?? (phase() === 'ready' ? engine.refusing() : undefined);
      return {
        startedMs,
        state: reason === undefined ? phase() : 'degraded',
        ...(reason === undefined ? {} : { reason }),
        stateFolder: state,
      };
    },
    machine: () => ({
      hostName: hostname(),
      kernel: release(),
      ...(os === undefined ? {} : { os }),
    }),
    slots: () => slotPages(slots),
    async space() {
      const { totalBytes, availableBytes, keepFreeBytes } = await space.usage();
      return {
        path: state,
        fileSystem: await space.fileSystem(),
        totalBytes,
        freeBytes: availableBytes,
        reserveBytes: keepFreeBytes,
        ...(await uppersPart(parts)),
      };
    },
    memory: parts.memory,
    counts: () => countsOf(store),
    fallbacks: () => fallbacks,
    notices: async () => [
      ...(degraded === undefined || degraded === uppers.problem?.text
        ? []
        : [{ text: `nothing is changed: ${degraded}`, command: 'personactl doctor' }]),
      ...uppers.notices(),
      ...quarantineNotices(state),
      ...(await parts.moreNotices()),
      ...[...damaged].map(([digest, problem]) => ({
        text: `the layer ${digest} is damaged (${problem}): nothing on it is activated`,
        command: 'personactl persona verify PERSONA',
      })),
      ...[...slots.problems].map(([slot, problem]) => ({
        text: `slot ${slot}: ${problem}`,
        command: `personactl history ${slot}`,
      })),
      ...engine
        .open()
        .filter(({ status }) => status.startsWith('stuck'))
        .map(({ id, summary }) => ({
          text: `change ${id} is stuck: ${summary}`,
          command: `personactl change continue ${id}`,
        })),
    ],
  };
}
