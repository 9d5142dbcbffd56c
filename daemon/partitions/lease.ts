import { sameValue } from './knob-text.ts';

/**
 * A knob of the machine that is ours for now, and how it goes back (SECURITY 19). Whatever it says is checked again
 * before anything is written: another boot, another group or another value end the lease without a write.
 */
export interface Lease {
  /** The mounted hierarchy, and its version. */
  root: string;
  version: 1 | 2;
  controller: 'memory' | 'io';
  /** The group: its path below the hierarchy, and the inode id that names this very group. */
  group: string;
  inode: string;
  boot: string;
  knob: string;
  /** The device, where the knob's file has a line for each. */
  device?: string;
  /** What was there before us. */
  old: string;
  /** What was about to be written last: durable before it is. */
  wanted: string;
  /** What was read back after that; absent until then. */
  read?: string;
  /** What systemd took last, where it writes for us: it writes that again with any other property of the unit. */
  told?: string;
  /** The unit whose property it is, where systemd writes for us. */
  unit?: string;
  /** That property had a file of its own before us: it is not removed. */
  dropInBefore?: boolean;
  /** When it was taken: milliseconds since boot. */
  sinceMs: number;
}

/** Knobs of both sides, and a switch of each disk, at most: more is no file of ours. */
export const leasesMax = 32;
/** The knob still has what we wrote, also what was about to be written when the daemon ended, or what systemd has of us. Pure. */
export function isOurs(lease: Lease, now: string): boolean {
  const { wanted, read, told } = lease;
  return [wanted, read, told].some((ours) => ours !== undefined && sameValue(now, ours, lease));
}

/**
 * Another program has set it: it is not ours, and not the old value either, which stands there while systemd has yet to be told that
 * the lease ends. Pure.
 */
export function isTheirs(lease: Lease, now: string): boolean {
  return !isOurs(lease, now) && !sameValue(now, lease.old, lease);
}

/** One lease for each knob of each group. */
export const leaseKey = ({
  root,
  group,
  knob,
  device = '',
}: Pick<Lease, 'root' | 'group' | 'knob' | 'device'>): string =>
  `${root}/${group}/${knob} ${device}`;

const texts = ['root', 'group', 'inode', 'boot', 'knob', 'old', 'wanted'] as const;

function isLease(value: unknown): value is Lease {
  if (typeof value !== 'object' || value === null) return false;
  const lease = value as Record<string, unknown>;
  return (
    texts.every((name) => typeof lease[name] === 'string') &&
    (lease.version === 1 || lease.version === 2) &&
    (lease.controller === 'memory' || lease.controller === 'io') &&
    (lease.read === undefined || typeof lease.read === 'string') &&
    (lease.told === undefined || typeof lease.told === 'string') &&
    (lease.unit === undefined || typeof lease.unit === 'string') &&
    (lease.device === undefined || /^\d{1,9}:\d{1,9}$/.test(String(lease.device))) &&
    typeof lease.sinceMs === 'number'
  );
}

/** The leases of a file's text. Throws when it is none of ours: nothing is restored by guessing. Pure. */
export function parseLeases(text: string): Lease[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value) || value.length > leasesMax || !value.every(isLease))
    throw new Error('the file does not hold leases');
  return value;
}
