import type { OwnedProcess } from '../kernel/placed-process.ts';
import type { Weights } from '../kernel/scope-unit.ts';

/** A group of a launch, and the user it counts to. */
export interface LaunchGroup {
  /** Its path below the hierarchy. */
  group: string;
  account: number;
  /** The application, as its name has it. */
  app: string;
}

/** How groups for launches are made on this machine. */
export interface LaunchGroups {
  /** Why there can be none, or undefined. */
  obstacle(): string | undefined;
  /** Why this process is left where it is, or undefined. */
  refusal(process: OwnedProcess, account: number): string | undefined;
  /** Why a program that nobody asked us to place is left in the group that it is in, or undefined. */
  keeps(process: OwnedProcess, account: number): string | undefined;
  /** The group for a launch, which nobody else has. */
  name(app: string, account: number): string;
  /** Puts a process into the group, which is made. False when it has ended. */
  put(group: string, process: OwnedProcess, weights: Weights): Promise<boolean>;
  /** Removes the group when it is empty. False when it is not. */
  drop(group: string): Promise<boolean>;
  /** The group that a process is in: anybody's; undefined when it has ended. */
  of(pid: number): string | undefined;
  /** Where the group is. */
  folder(group: string): string;
  /** Groups that an earlier daemon has made. */
  found(): Promise<LaunchGroup[]>;
}
