import { PersonaError } from '../../ipc/errors.ts';
import { formatSize } from '../../ipc/values.ts';

/** Partitions of one user who is not root: each is a mount, and those are looked through often. */
const PER_OWNER_MAX = 16;
/** Partitions of everybody, and how many of these places only root can take. */
const ALL_MAX = 64;
const FOR_ROOT_MIN = 16;
/** What a partition takes, for the account it counts to. */
export interface Claim {
  account: number;
  /** What counts for the account. */
  bytes: number;
  /** What it takes of the machine's memory at most. */
  memoryBytes: number;
}

/** Memory as it is now. */
export interface MemoryNow {
  /** What can be spared without starving a side. */
  spareBytes: number;
  /** The most that the user side may have. */
  userShareBytes: number;
}

/** Sizes that partitions on the disk may have. */
export interface DiskLimits {
  allBytes: number;
  ownerBytes: number;
}

/** Parts of the user side's memory that partitions may take, in percent. */
export interface QuotaSettings {
  allPercent: number;
  ownerPercent: number;
}

const over = (what: string, limit: string | number) =>
  new PersonaError('limit-exceeded', { what, limit });

const sum = (claims: readonly Claim[]): number => claims.reduce((all, { bytes }) => all + bytes, 0);

/** Throws `limit-exceeded` when there are too many partitions. Places are kept for root. Pure. */
export function checkCount(wanted: Claim, others: readonly Claim[]): void {
  const isRoot = wanted.account === 0;
  const mine = others.filter(({ account }) => account === wanted.account);
  if (!isRoot && mine.length >= PER_OWNER_MAX)
    throw over('the number of your fast partitions', PER_OWNER_MAX);
  const places = isRoot ? ALL_MAX : ALL_MAX - FOR_ROOT_MIN;
  if (others.length >= places) throw over('the number of fast partitions', places);
}

/**
 * Throws when a partition in memory would take more than its owner, or all users together, may have of the user side
 * (`limit-exceeded`), or so much that a side would starve (`no-memory`). Root is bound by the last alone. Pure.
 * @param others those in memory already; @param promisedBytes what these may still take and do not hold yet.
 */
export function checkMemory(
  wanted: Claim,
  others: readonly Claim[],
  promisedBytes: number,
  { spareBytes, userShareBytes }: MemoryNow,
  { allPercent, ownerPercent }: QuotaSettings,
): void {
  const partOf = (percent: number) => Math.floor((userShareBytes * percent) / 100);
  if (wanted.account !== 0) {
    const mine = others.filter(({ account }) => account === wanted.account);
    const owner = partOf(ownerPercent);
    if (sum(mine) + wanted.bytes > owner)
      throw over('the memory of your fast partitions together', formatSize(owner));
    const users = others.filter(({ account }) => account !== 0);
    const all = partOf(allPercent);
    if (sum(users) + wanted.bytes > all)
      throw over('the memory of all fast partitions of users together', formatSize(all));
  }
  const left = Math.max(0, spareBytes - promisedBytes);
  if (wanted.memoryBytes > left)
    throw new PersonaError('no-memory', {
      needed: formatSize(wanted.memoryBytes),
      spare: formatSize(left),
    });
}

/** Throws `limit-exceeded` when a partition on the disk is more than its owner, or all users together, may have. Root has what is free. Pure. */
export function checkDisk(
  wanted: Claim,
  others: readonly Claim[],
  { allBytes, ownerBytes }: DiskLimits,
): void {
  if (wanted.account === 0) return;
  const mine = others.filter(({ account }) => account === wanted.account);
  if (sum(mine) + wanted.bytes > ownerBytes)
    throw over('the size of your fast partitions on the disk together', formatSize(ownerBytes));
  const users = others.filter(({ account }) => account !== 0);
  if (sum(users) + wanted.bytes > allBytes)
    throw over('the size of all fast partitions of users on the disk', formatSize(allBytes));
}
