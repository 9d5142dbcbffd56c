import { PersonaError } from '../../ipc/errors.ts';
import { formatSize, parseSize } from '../../ipc/values.ts';
import { readFragment, settingFiles, type Written } from './fragments.ts';

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;

type Kind = 'size' | 'count' | 'days' | 'percent' | 'word';

/** One setting: its default, its form, what it is for. */
interface Setting<T> {
  value: T;
  kind: Kind;
  /** For words: the allowed ones, or a pattern. */
  allowed?: readonly string[] | RegExp;
  max?: number;
  doc: string;
}

const size = (value: number, doc: string): Setting<number> => ({ value, kind: 'size', doc });
const number = (value: number, kind: Kind, max: number, doc: string): Setting<number> => ({
  value,
  kind,
  max,
  doc,
});
const word = (
  value: string,
  allowed: readonly string[] | RegExp,
  doc: string,
): Setting<string> => ({ value, kind: 'word', allowed, doc });

/** A cgroup below its hierarchy: names as systemd makes them, and no way out. */
const groupPath = /^(?!.*(^|\/)\.)[A-Za-z0-9:_.@\\-]+(\/[A-Za-z0-9:_.@\\-]+)*$/;

/** Every setting there is, by the key it has in a file. An unknown key is an error. */
export const settingTable = {
  'daemon.log_level': word('info', ['debug', 'info', 'warn', 'error'], 'Least severity logged.'),
  'daemon.group': word(
    'persona',
    /^[a-z_][a-z0-9_-]{0,31}$/,
    'Group of control.sock: its members may run personas and change what is theirs.',
  ),
  'space.reserve': size(
    64 * MiB,
    'Preallocated in the state tree; given back when the disk is full, so that undo succeeds.',
  ),
  'space.keep_free': size(GiB, 'New work is refused when less than this would stay free.'),
  'space.keep_free_percent': number(
    5,
    'percent',
    90,
    'The same as a share of the file system; the larger of both counts.',
  ),
  'space.upper_volume': size(
    0,
    'Size of the volume for what slots write, made where the state folder cannot hold that itself; grows at a start with nothing shown. 0: the smaller of 16 GiB and half of what is free.',
  ),
  'slots.keep_generations': number(
    20,
    'count',
    10_000,
    'Ended generations kept per slot for rollback; older ones may be collected.',
  ),
  'slots.keep_failed_days': number(
    7,
    'days',
    3_650,
    'The upper of a failed generation is kept at least this long.',
  ),
  'personas.owner_bytes': size(
    32 * GiB,
    'Bases and personas of one user take at most this much in the store. Root has what is free.',
  ),
  'personas.owner_count': number(
    256,
    'count',
    10_000,
    'One user has at most so many bases and personas. Root has as many as wanted.',
  ),
  'integrity.scrub_days': number(
    30,
    'days',
    3_650,
    'Images are hashed again in the background this often, and once after each boot. 0: only by `personactl system scrub`.',
  ),
  'integrity.scrub_rate': size(
    32 * MiB,
    'Bytes per second that the background reads for it. 0: as fast as it goes.',
  ),
  'integrity.require_secure_boot': word(
    'no',
    ['no', 'yes'],
    'yes: on a machine that was booted without secure boot the daemon shows everything and changes nothing; no slot is brought back.',
  ),
  'partitions.mode': word(
    'observe',
    ['observe', 'manage'],
    'observe: memory is looked at, and nothing of the machine is set. manage: the policy sets memory.low and memory.high of both sides.',
  ),
  'partitions.hard_limits': word(
    'off',
    ['off', 'on'],
    'Where memory has cgroup version 1 only. on: limits of a side are memory.limit_in_bytes, never below what it uses and 512 MiB more; programs of a side that outgrows it faster than it is lifted are ended. off: memory is only observed there.',
  ),
  'partitions.io_weight_user': number(
    0,
    'count',
    10_000,
    'Weight of the requests of the user side to disks (io.weight) while memory is managed; every group starts with 100. 0: left alone.',
  ),
  'partitions.io_weight_system': number(0, 'count', 10_000, 'The same of the system side.'),
  'partitions.io_cost': word(
    'off',
    ['off', 'on'],
    'on: where nothing gives requests their turn by weights, as on NVMe disks, io.cost.qos is turned on for the disk while weights are set, with a goal of 2 ms for reads and 10 ms for writes where none is set.',
  ),
  'partitions.policy': word(
    'protective',
    ['protective', 'threshold', 'static'],
    'How memory is shared between the sides.',
  ),
  'partitions.user_percent': number(
    50,
    'percent',
    80,
    "The part of the memory that is the user side's: for good with `static`; the others begin there, and `protective` keeps so much of all protection for it.",
  ),
  'partitions.least_percent': number(20, 'percent', 50, "No side's part is smaller."),
  'partitions.most_percent': number(80, 'percent', 100, "No side's part is greater."),
  'partitions.grow_percent': number(
    80,
    'percent',
    100,
    'threshold: a side that uses more than this of its part asks for more.',
  ),
  'partitions.shrink_percent': number(
    20,
    'percent',
    100,
    'threshold: a side that uses less than this of its part gives some away.',
  ),
  'partitions.step_percent': number(
    10,
    'percent',
    50,
    'threshold: what one step moves, of all memory.',
  ),
  'partitions.user': word('user.slice', groupPath, 'The cgroup that is the user side.'),
  'partitions.system': word('system.slice', groupPath, 'The cgroup that is the system side.'),
  'volumes.govern': word(
    'off',
    ['off', 'on'],
    'on: the policy in force also moves space between the volumes `user` and `system`, by the same thresholds. off: their sizes stay.',
  ),
  'fast.memory_percent': number(
    50,
    'percent',
    80,
    'Fast partitions in memory of all users together take at most this part of the memory that the user side may have.',
  ),
  'fast.owner_percent': number(
    25,
    'percent',
    80,
    'The same for those of one user. Root is bound only by what both sides must keep.',
  ),
  'fast.disk_max': size(
    16 * GiB,
    'Fast partitions on the disk of all users together are not larger than this.',
  ),
  'fast.owner_disk': size(4 * GiB, 'The same for those of one user. Root has what is free.'),
  'profiles.violation': word(
    'warn',
    ['warn', 'freeze', 'kill'],
    'What is done about a program that was started past the daemon and must be kept apart: told in status, frozen, or ended.',
  ),
  'uploads.bytes_max': size(64 * GiB, 'Largest upload; one user may have this much in staging.'),
} as const satisfies Record<string, Setting<number> | Setting<string>>;

/** The name of a setting. */
export type SettingKey = keyof typeof settingTable;

type Values = {
  readonly [K in SettingKey]: (typeof settingTable)[K] extends Setting<number> ? number : string;
};

/** All settings in force, frozen. Sizes in bytes. */
export interface Settings {
  values: Values;
  /** Where each value comes from: `default` or `FILE:LINE`. */
  origins: Readonly<Record<SettingKey, string>>;
}

const wants: Record<Kind, string> = {
  size: 'a size such as "1GiB"',
  count: 'a whole number',
  days: 'a whole number of days',
  percent: 'a whole number of percent',
  word: 'one of',
};

function refuse({ key, origin }: Written, reason: string): never {
  const file = origin.replace(/:\d+$/, '');
  throw new PersonaError('bad-config', { file, reason: `${origin}: ${key} ${reason}` });
}

function checked(written: Written, setting: Setting<number> | Setting<string>): number | string {
  const { value } = written;
  if (setting.kind === 'word') {
    const { allowed = [] } = setting;
    const fits =
      allowed instanceof RegExp ? allowed.test(String(value)) : allowed.includes(`${value}`);
    if (typeof value === 'string' && fits) return value;
    return refuse(
      written,
      `must be ${allowed instanceof RegExp ? allowed : `one of ${allowed.join(', ')}`}`,
    );
  }
  if (setting.kind === 'size') {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    if (typeof value !== 'string') return refuse(written, `must be ${wants.size}`);
    try {
      return parseSize(value);
    } catch {
      return refuse(written, `must be ${wants.size}`);
    }
  }
  const max = setting.max ?? Number.MAX_SAFE_INTEGER;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max)
    return value;
  return refuse(written, `must be ${wants[setting.kind]} from 0 to ${max}`);
}

/** The settings that `written` gives, later ones winning. Throws `bad-config` with file and line. */
export function settingsOf(written: readonly Written[]): Settings {
  const values: Record<string, number | string> = {};
  const origins: Record<string, string> = {};
  for (const [key, { value }] of Object.entries(settingTable)) {
    values[key] = value;
    origins[key] = 'default';
  }
  for (const one of written) {
    if (!Object.hasOwn(settingTable, one.key))
      refuse(one, `is not a setting; there are: ${Object.keys(settingTable).join(', ')}`);
    values[one.key] = checked(one, settingTable[one.key as SettingKey]);
    origins[one.key] = one.origin;
  }
  return Object.freeze({
    values: Object.freeze(values) as Values,
    origins: Object.freeze(origins) as Settings['origins'],
  });
}

/** Reads all settings below `etc`. */
export function readSettings(etc: string): Settings {
  return settingsOf(settingFiles(etc).flatMap(readFragment));
}

/** Every setting with value, origin and purpose, for the log at start and for people. */
export function describeSettings({ values, origins }: Settings): string[] {
  return Object.entries(settingTable).map(([key, { kind, doc }]) => {
    const value = values[key as SettingKey];
    const shown = kind === 'size' ? formatSize(Number(value)) : String(value);
    return `${key} = ${shown} (${origins[key as SettingKey]}): ${doc}`;
  });
}
