import { PersonaError } from '../../ipc/errors.ts';
import type { Log } from '../changes/log.ts';
import type { Paths } from '../config/paths.ts';
import type { Settings } from '../config/settings.ts';
import { askProperties } from '../kernel/asked-properties.ts';
import { boottimeMs, wallMs } from '../kernel/clock.ts';
import { type DiskSharing, diskSharing } from '../kernel/disk-sharing.ts';
import { nativeProgram } from '../kernel/program-files.ts';
import type { Store } from '../store/store.ts';
import { type HistoryRow, historySteps, meansOf, type Sample } from './history.ts';
import { readHistory } from './history-rows.ts';
import { type IoSettings, type IoShare, IoShares, ioWishes } from './io-shares.ts';
import { guardLeases } from './lease-guard.ts';
import type { Returned } from './leases.ts';
import { MemoryLoop, reportReturned } from './loop.ts';
import { lookAtMachine, openGlance } from './machine-look.ts';
import { type OomdKill, openOomdSettings } from './oomd-settings.ts';
import { findPlaces, type Places } from './places.ts';
import { findPolicy } from './policies/index.ts';
import type { Policy } from './policy.ts';
import { Recorder } from './recorder.ts';
import { openLeases } from './restore.ts';
import { checkShares, type Shares, settingsWith, sharesOf } from './shares.ts';

/** What the room is opened with. */
export interface PartitionsParts {
  paths: Paths;
  settings: Settings;
  store: Store;
  log: Log;
  /** Why nothing may be changed: memory is observed then, and nothing is kept. */
  degraded: string | undefined;
  /** A service manager runs `--restore` after every end of this process. */
  service?: boolean | undefined;
}

/** How the caller wants memory to be shared. */
export interface Wanted {
  policy?: string | undefined;
  mode?: 'observe' | 'manage' | undefined;
}

/** Shares that are to be others from now on. */
export type WantedShares = { [K in keyof Shares]?: Shares[K] | undefined };

/** The room of memory shares. */
export interface PartitionsRoom {
  loop: MemoryLoop;
  recorder: Recorder;
  places: Places;
  leases: ReturnType<typeof openLeases>;
  /** For what systemd-oomd ends programs of both sides, as it was set some seconds ago. Never throws. */
  oomdKills(): Promise<OomdKill[]>;
  io: {
    settings: IoSettings;
    /** What became of what the settings ask for. */
    shares(): readonly IoShare[];
    /** What gives the disks' requests their turn; empty without the io controller. */
    sharing(): DiskSharing[];
  };
  /** Throws `bad-value` for a policy that there is not. */
  choose(wanted: Wanted): Promise<Returned[]>;
  /** The shares in force. */
  shares(): Shares;
  /** Sets some of them until the daemon ends. Throws `bad-value` where they do not go together. */
  setShares(wanted: WantedShares): Promise<Shares>;
  /** Rows of a ring, the oldest first. */
  history(stepMs: number): Promise<{ atMs: number; means: Sample }[]>;
  start(): void;
  stop(): Promise<void>;
}

function policyOf(name: string): Policy {
  const policy = findPolicy(name);
  if (policy === undefined)
    throw new PersonaError('bad-value', { name: 'the policy', reason: `there is no ${name}` });
  return policy;
}

/** Opens the room, and gives back what a daemon that was killed has left. */
export async function openPartitions(parts: PartitionsParts): Promise<PartitionsRoom> {
  const { paths, settings, store, log, degraded, service = false } = parts;
  const { values } = settings;
  const groups = { user: values['partitions.user'], system: values['partitions.system'] };
  const places = findPlaces(groups, values['partitions.hard_limits'] === 'on');
  const leases = openLeases(
    paths.run,
    guardLeases({ paths, service, native: nativeProgram('lease-guard') }),
  );
  if (leases.problem !== undefined) log.error({}, leases.problem);
  reportReturned(await leases.releaseAll(), log);
  const kept = degraded === undefined ? store : undefined;
  const recorder = new Recorder({ store: kept, folder: paths.state, log, wallMs });
  await recorder.start();
  const { glance, close } = openGlance();
  const ioSettings: IoSettings = {
    weights: {
      user: values['partitions.io_weight_user'],
      system: values['partitions.io_weight_system'],
    },
    cost: values['partitions.io_cost'] === 'on',
  };
  const diskNames = () => (recorder.disks?.disks ?? []).map(({ name }) => name);
  const sharing = () => (places.io ? diskSharing(places.io.root, diskNames()) : []);
  const io = new IoShares({ leases, wishes: () => ioWishes(places, ioSettings, sharing()) });
  let shares = sharesOf(settings);
  checkShares(shares);
  const loop = new MemoryLoop(
    {
      places,
      leases,
      io,
      recorder,
      log,
      nowMs: boottimeMs,
      wallMs,
      look: (atMs) => lookAtMachine(places, atMs),
      glance,
    },
    {
      policy: policyOf(values['partitions.policy']),
      manage: degraded === undefined && values['partitions.mode'] === 'manage',
      settings: settingsWith(shares),
    },
  );
  return {
    loop,
    recorder,
    places,
    leases,
    oomdKills: openOomdSettings(places, askProperties, boottimeMs),
    io: { settings: ioSettings, shares: () => io.shares, sharing },
    async choose({ policy, mode }) {
      if (mode === 'manage' && degraded !== undefined)
        throw new PersonaError('daemon-degraded', { reason: degraded });
      return await loop.choose({
        ...(policy === undefined ? {} : { policy: policyOf(policy) }),
        ...(mode === undefined ? {} : { manage: mode === 'manage' }),
      });
    },
    shares: () => shares,
    async setShares(wanted) {
      const given = Object.entries(wanted).filter(([, value]) => value !== undefined);
      const next = { ...shares, ...Object.fromEntries(given) };
      checkShares(next);
      shares = next;
      await loop.choose({ settings: settingsWith(next) });
      return next;
    },
    history: (stepMs) => historyOf(store, recorder, stepMs),
    start: () => loop.start(),
    async stop() {
      await loop.stop();
      close();
    },
  };
}

async function historyOf(store: Store, recorder: Recorder, stepMs: number) {
  const now = wallMs();
  const rows = historySteps.find(({ ms }) => ms === stepMs)?.rows ?? 0;
  const written = await readHistory(store, stepMs, now - rows * stepMs, now);
  const all = new Map<number, HistoryRow>();
  for (const row of [...written, ...recorder.pending(stepMs)]) all.set(row.atMs, row);
  return [...all.values()]
    .sort((a, b) => a.atMs - b.atMs)
    .map((row) => ({ atMs: row.atMs, means: meansOf(row) }));
}
