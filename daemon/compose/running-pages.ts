import { setImmediate as turn } from 'node:timers/promises';
import type { Answer } from '../../ipc/methods/index.ts';
import type { RunningApplication as Page, VerifiedApplication } from '../../ipc/methods/shapes.ts';
import { accountOf } from '../kernel/accounts.ts';
import { processesOf, readKnob } from '../kernel/cgroups.ts';
import { installedFile } from '../kernel/installed-programs.ts';
import { machineNamespaces, type ProcessWalls, readWalls } from '../kernel/process-walls.ts';
import { statOf } from '../kernel/processes.ts';
import { bubblewrap } from '../kernel/sandbox-host.ts';
import type { Program } from '../profiles/identity.ts';
import type { ProfilesRoom } from '../profiles/room.ts';
import type { RunningApplication } from '../profiles/running.ts';
import { type Ground, type SeenGroup, verified } from '../profiles/verification.ts';
import { type FastLaunches, partitionName } from './fast-launches.ts';
import type { SecureLaunches, StartedApart } from './secure-launches.ts';

/** Applications that are looked at for one answer, and processes of each. */
const VERIFIED_MAX = 256;
const PROCESSES_MAX = 64;
/** No other application is begun with after this time. */
const VERIFY_MS = 10_000;

/** A running application as the contract has it. */
export function runningPage(one: RunningApplication): Page {
  const { app, account, group, profile, rule, reason, sinceMs, by, violation } = one;
  const what = { app, owner: account, profile, rule, reason, sinceMs, by, group };
  return { ...what, ...(violation !== undefined && { violation }) };
}

/** Applications on the status page. */
const STATUS_MAX = 16;

/** What runs, in short. `side` is the control group of the user's side. */
export function runningStatus(
  all: readonly RunningApplication[],
  { secure, fast }: Pick<VerifyParts, 'secure' | 'fast'>,
  side: string,
): NonNullable<Answer<'daemon.status'>['running']> {
  const shown = all.slice(0, STATUS_MAX);
  const apart = shown.some(({ profile }) => profile === 'secure')
    ? secure.startedApart()
    : undefined;
  const applications = shown.map((one) => {
    const { app, account, profile, reason, process } = one;
    const [served] = profile === 'fast' ? fast.pages(account, app) : [];
    const enclave = process && apart?.get(process.pid)?.enclave;
    const name = accountOf(account)?.name;
    return {
      app,
      owner: { uid: account, ...(name && { name }) },
      profile,
      reason,
      partition: served
        ? `fast partition ${partitionName(app, account)}`
        : enclave
          ? `enclave ${enclave}`
          : side,
      ...(served && { savedMs: served.savedMs }),
    };
  });
  return { applications, more: Math.max(0, all.length - STATUS_MAX) };
}

/** Where what runs is looked up. */
export interface VerifyParts {
  secure: SecureLaunches;
  fast: FastLaunches;
  applications: Pick<ProfilesRoom, 'ownFile'>;
  folderOf(group: string): string;
}

/** What the kernel says of a group. */
async function seenIn(folder: string): Promise<SeenGroup> {
  const pids = processesOf(folder);
  const processes: ProcessWalls[] = [];
  for (const pid of pids.slice(0, PROCESSES_MAX)) {
    const walls = await readWalls(pid);
    if (walls !== undefined) processes.push(walls);
  }
  return {
    pids,
    processes,
    knob: (name) => readKnob(folder, name),
  };
}

async function verifiedPage(
  one: RunningApplication,
  { fast, applications, folderOf }: VerifyParts,
  ground: Ground,
  apart: ReadonlyMap<number, StartedApart>,
): Promise<VerifiedApplication | undefined> {
  const { app, account, group, profile, sinceMs, process } = one;
  const lives = process !== undefined && statOf(process) !== undefined;
  const seen = await seenIn(folderOf(group));
  // It has ended, and is taken off the list in a moment.
  if (seen.processes.length === 0 && !lives) return undefined;
  const wanted = {
    ...one,
    ...(lives && { pid: process.pid }),
    served: profile === 'fast' ? fast.seenBy(account, app) : undefined,
    apart: seen.pids.map((pid) => apart.get(pid)).find(Boolean),
    ownFile: one.recognised
      ? (program: Program) => applications.ownFile(account, app, program)
      : undefined,
  };
  const checks = verified(wanted, seen, ground);
  const holds = checks.every(({ state }) => state !== 'fails');
  return { app, owner: account, profile, sinceMs, group, holds, checks };
}

/** Asks the kernel whether these run as their profiles say. */
export async function verifyAll(
  all: readonly RunningApplication[],
  parts: VerifyParts,
): Promise<Answer<'launch.verify'>> {
  const ground = { machine: machineNamespaces(), sandbox: installedFile('/', bubblewrap) };
  const apart = parts.secure.startedApart();
  const applications: VerifiedApplication[] = [];
  const endMs = performance.now() + VERIFY_MS;
  let looked = 0;
  for (const one of all.slice(0, VERIFIED_MAX)) {
    if (performance.now() > endMs) break;
    const page = await verifiedPage(one, parts, ground, apart);
    if (page !== undefined) applications.push(page);
    looked += 1;
    await turn();
  }
  return { applications, more: all.length - looked };
}
