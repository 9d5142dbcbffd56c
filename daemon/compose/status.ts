import { readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import type { Rooms } from '../api/rooms.ts';
import type { Engine } from '../changes/engine.ts';
import type { Capabilities } from '../kernel/probe.ts';
import { type FailedGeneration, failedGenerations } from '../personas/failed-generations.ts';
import { slotPages } from '../personas/slot-pages.ts';
import type { Retention } from '../personas/slot-retention.ts';
import type { SlotRoom } from '../personas/slot-room.ts';
import type { Store } from '../store/store.ts';
import { fallbacksOf } from '../system/doctor.ts';
import { quarantineNotices } from '../system/quarantine.ts';
import type { Space } from '../system/space.ts';
import type { UpperPlace } from '../system/upper-volume.ts';
import type { Integrity } from './integrity.ts';

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
  integrity: Integrity['status'];
  retention: Retention;
  memory: Rooms['status']['memory'];
  inMemory: Rooms['status']['inMemory'];
  pinned: Rooms['status']['pinned'];
  running: Rooms['status']['running'];
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
  const [row] = await store.kept(`SELECT (SELECT count(*) FROM bases) AS bases,
    (SELECT count(*) FROM personas) AS personas, (SELECT count(*) FROM slots) AS slots`);
  return {
    bases: Number(row?.bases ?? 0),
    personas: Number(row?.personas ?? 0),
    slots: Number(row?.slots ?? 0),
  };
}

/** Where uppers live; nothing is said where none can be kept. */
function uppersPart({ machine, uppers }: StatusParts) {
  const volume = uppers.usage();
  if (volume !== undefined) return { uppers: 'loop-volume' as const, volume };
  return machine.ways.uppers ? { uppers: 'direct' as const } : {};
}

function failedNotice({ slot, number, failure, upper, keptUntilMs }: FailedGeneration) {
  const kept =
    upper === undefined
      ? 'nothing was written in it'
      : `what was written in it (${upper}) is kept until ${new Date(keptUntilMs).toISOString()} at least`;
  return {
    text: `slot ${slot} returned from generation ${number} by itself (${failure}); ${kept}`,
    command: `personactl history ${slot}`,
  };
}

/** The parts of `daemon.status`. */
export function statusParts(parts: StatusParts): Rooms['status'] {
  const { state, store, space, machine, uppers, slots, startedMs, engine, phase, degraded } = parts;
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
      boot: parts.integrity.boot,
    }),
    slots: () => slotPages(slots),
    space() {
      const { fileSystem, totalBytes, availableBytes, keepFreeBytes } = space.usage();
      return {
        path: state,
        fileSystem,
        totalBytes,
        freeBytes: availableBytes,
        reserveBytes: keepFreeBytes,
        ...uppersPart(parts),
      };
    },
    memory: parts.memory,
    inMemory: parts.inMemory,
    pinned: parts.pinned,
    running: parts.running,
    integrity: parts.integrity.part,
    counts: () => countsOf(store),
    fallbacks: () => fallbacks,
    notices: async () => [
      ...(degraded === undefined || degraded === uppers.problem?.text
        ? []
        : [{ text: `nothing is changed: ${degraded}`, command: 'personactl doctor' }]),
      ...uppers.notices(),
      ...quarantineNotices(state),
      ...(await parts.moreNotices()),
      ...(await parts.integrity.notices()),
      ...failedGenerations(slots.book, parts.retention, slots.now()).map(failedNotice),
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
