import type { GrantWord } from '../../ipc/values.ts';

/** How an application runs. */
export const profiles = ['standard', 'fast', 'secure'] as const;
export type Profile = (typeof profiles)[number];

/** Who says something of an application, by precedence: the first that says anything counts. */
export const sources = ['admin', 'user', 'measured', 'imported', 'category'] as const;
export type Source = (typeof sources)[number];

/** How much of the processors it is to have beside others, from least to most. */
export const cpuNeeds = ['background', 'normal', 'high'] as const;
export type CpuNeed = (typeof cpuNeeds)[number];

/**
 * How much it is to be kept apart. `sensitive`: as `secure` where that can be had. `required`: as `secure` or not at all,
 * when an administrator or the user says so.
 */
export const securityLevels = ['normal', 'sensitive', 'required'] as const;
export type SecurityLevel = (typeof securityLevels)[number];

/** Everything that can be known of an application. Folders of a user begin with `~/`. */
export interface FactValues {
  /** What people call it. */
  name: string;
  /** Kinds of application, in the words of desktop entries. */
  categories: readonly string[];
  profile: Profile;
  cpu: CpuNeed;
  /** Memory that it is expected to use at most, in bytes. */
  memory: number;
  /** Space that it takes on the disk, in bytes. */
  storage: number;
  /** Packages or programs that it needs. */
  dependencies: readonly string[];
  security: SecurityLevel;
  /** Folders in which its data lies; what is lost of them is lost. */
  data: readonly string[];
  /** Folders whose loss costs time only. */
  cache: readonly string[];
  /** Folders that nobody looks for after its end. */
  temporary: readonly string[];
  /** The last half minute of `data` may be lost in a crash, for speed. */
  lossOk: boolean;
  /** Things of the session that it has when it is kept apart. */
  grants: readonly GrantWord[];
  /** Folders that it can then read, at their own paths. */
  show: readonly string[];
  /** Folders that it can then read and write. */
  share: readonly string[];
  /** The enclave of its user's that is then its home. */
  enclave: string;
  /** Absolute paths of the programs that it is started by. */
  executables: readonly string[];
  /** Memory that it has on average, in bytes. */
  typicalMemory: number;
  /** Processors that it keeps busy on average: 0.5 is half of one. */
  processors: number;
  /** What its start reads from disks when nothing of it is in memory, in bytes. */
  coldRead: number;
  /** From its start until it first comes to rest, in milliseconds. */
  startTime: number;
  /** How often it waits for a write to be on the disk, in a second. */
  syncRate: number;
  /** The share of its time that it waits for the disk at most: 0 to 1. */
  diskWait: number;
}

export type FactName = keyof FactValues;

/** Facts that are measured, and that nobody can say. */
export const measuredOnly = [
  'typicalMemory',
  'processors',
  'coldRead',
  'startTime',
  'syncRate',
  'diskWait',
] as const;
type MeasuredOnly = (typeof measuredOnly)[number];
export type StatableName = Exclude<FactName, MeasuredOnly>;

/** Where a fact is from. */
export interface Origin {
  source: Source;
  /** `FILE:LINE`, or in words. */
  from: string;
  /** 0 to 1: how sure the source can be. */
  confidence: number;
  dateMs: number;
}

/** A value with where it is from. */
export interface Known<T> extends Origin {
  value: T;
}

/** What is known of an application: for each fact all that was said, the one that counts first. */
export type Facts = { readonly [K in FactName]?: readonly Known<FactValues[K]>[] };

export interface Application {
  /** As its desktop entry is called, without `.desktop`. */
  id: string;
  facts: Facts;
}

export { applicationIdPattern } from '../../ipc/values.ts';

const rank = (source: Source): number => sources.indexOf(source);

/** True when `one` outranks `other`, or is its equal. */
export const atLeast = (one: Source, other: Source): boolean => rank(one) <= rank(other);

/** Who counts first: the higher source, then who is surer, then who spoke last. */
export function byPrecedence(a: Origin, b: Origin): number {
  return rank(a.source) - rank(b.source) || b.confidence - a.confidence || b.dateMs - a.dateMs;
}

/** The word that counts on this fact. */
export function factOf<K extends FactName>(
  { facts }: Application,
  name: K,
): Known<FactValues[K]> | undefined {
  return facts[name]?.[0] as Known<FactValues[K]> | undefined;
}
