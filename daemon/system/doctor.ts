import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { formatSize } from '../../ipc/values.ts';
import { type Paths, statePlaces } from '../config/paths.ts';
import type { MemoryProtection } from '../kernel/assurances.ts';
import type { Capabilities } from '../kernel/probe.ts';
import { protectionText, sameUserOf } from '../kernel/processor-protection.ts';
import { quarantineNotices } from './quarantine.ts';
import type { Space } from './space.ts';
import type { UpperPlace } from './upper-volume.ts';

/** One line of `personactl doctor` about the state tree. */
export interface Check {
  name: string;
  state: 'ok' | 'warning' | 'failed';
  detail: string;
  fix?: string;
}

/** A capability as the contract shows it. */
export interface CapabilityPage {
  name: string;
  usedFor: string;
  state: 'ok' | 'fallback' | 'missing';
  detail: string;
  fix?: string;
}

/** What the machine can do, with the fix for what it cannot. */
export function capabilityPages({ list }: Capabilities): CapabilityPage[] {
  return list.map(({ id, works, detail, usedFor, fix, needed }) => ({
    name: id,
    usedFor,
    state: works ? 'ok' : needed ? 'missing' : 'fallback',
    detail,
    ...(works ? {} : { fix }),
  }));
}

/** Ways in use that are not the best ones: shown by `status`, never silent. */
export function fallbacksOf({ list }: Capabilities): {
  capability: string;
  using: string;
  reason: string;
}[] {
  return list
    .filter(({ works, needed }) => !works && !needed)
    .map(({ id, detail, fix }) => ({ capability: id, using: fix, reason: detail }));
}

function modeCheck(name: string, path: string, wanted: number): Check {
  try {
    const { mode, uid } = lstatSync(path);
    const found = mode & 0o7777;
    if (found === wanted && uid === 0)
      return { name, state: 'ok', detail: `${path} is root's, ${wanted.toString(8)}` };
    return {
      name,
      state: 'failed',
      detail: `${path} has mode ${found.toString(8)} and owner ${uid}`,
      fix: `chown root ${path} && chmod ${wanted.toString(8)} ${path}`,
    };
  } catch {
    return { name, state: 'failed', detail: `${path} is missing`, fix: 'Restart the daemon.' };
  }
}

async function spaceChecks(paths: Paths, space: Space): Promise<Check[]> {
  const { availableBytes, keepFreeBytes, reserveBytes, inodesFree, inodesTotal } = space.usage();
  const free = formatSize(availableBytes);
  const enough = availableBytes >= keepFreeBytes;
  const inodes = inodesTotal === 0 || inodesFree / inodesTotal > 0.01;
  return [
    {
      name: 'free space',
      state: enough ? 'ok' : 'failed',
      detail: `${free} free in ${paths.state}, ${formatSize(keepFreeBytes)} kept`,
      ...(enough
        ? {}
        : { fix: 'Free some space: `personactl gc --dry-run` shows what personad can give back.' }),
    },
    {
      name: 'free inodes',
      state: inodes ? 'ok' : 'warning',
      detail: inodesTotal === 0 ? 'without a limit' : `${inodesFree} of ${inodesTotal} free`,
      ...(inodes ? {} : { fix: 'Remove small files from the file system of the state tree.' }),
    },
    {
      name: 'journal reserve',
      state: reserveBytes > 0 ? 'ok' : 'warning',
      detail: `${formatSize(reserveBytes)} set aside`,
      ...(reserveBytes > 0 ? {} : { fix: 'It is taken again when there is room for it.' }),
    },
  ];
}

/** The volume that holds what slots write; nothing where there is none and none is missed. */
async function volumeChecks(uppers: UpperPlace): Promise<Check[]> {
  const name = 'upper volume';
  const usage = uppers.usage();
  const [notice] = uppers.notices();
  if (notice !== undefined) {
    const state = uppers.problem === undefined ? 'warning' : 'failed';
    return [{ name, state, detail: notice.text, fix: notice.command }];
  }
  if (usage === undefined) return [];
  const free = `${formatSize(usage.freeBytes)} of ${formatSize(usage.totalBytes)} free`;
  return [{ name, state: 'ok', detail: `${free} in ${usage.image}, all blocks set aside` }];
}

/**
 * What keeps the memory of programs apart. A machine without the least of it is not what personad is made for; flaws of a processor are told, and
 * are not the daemon's to mend.
 */
export function protectionCheck({ processor, ptraceScope }: MemoryProtection): Check {
  const name = 'memory protection';
  const detail = `${protectionText(processor)}; ${sameUserOf(ptraceScope)}`;
  if (processor.noExecute !== false) return { name, state: 'ok', detail };
  const fix =
    'Turn no-execute pages (NX, XD) on in the setup of the firmware, and take noexec=off off the command line of the kernel.';
  return { name, state: 'warning', detail, fix };
}

/** What was put aside: by a start, because nobody knew it, or by a restore. */
export function quarantineCheck(state: string): Check {
  const name = 'quarantine';
  const { length } = quarantineNotices(state);
  if (length === 0) return { name, state: 'ok', detail: 'empty' };
  return {
    name,
    state: 'warning',
    detail: `${length} ${length === 1 ? 'thing' : 'things'} put aside`,
    fix: 'What each one is, and what to do with it: `personactl status`.',
  };
}

/** The checks of the state tree; `lost` is why its database cannot be used. */
export async function stateChecks(
  paths: Paths,
  space: Space,
  lost: string | undefined,
  uppers: UpperPlace,
): Promise<Check[]> {
  return [
    {
      name: 'database',
      state: lost === undefined ? 'ok' : 'failed',
      detail: lost ?? 'whole, and the one of this state tree',
      ...(lost === undefined
        ? {}
        : {
            fix: `Restore a backup: \`personactl restore FILE --replace\`. Or stop the daemon, put the right ${statePlaces.database} back into ${paths.state}, start it. Nothing was removed.`,
          }),
    },
    modeCheck('state tree', paths.state, 0o700),
    modeCheck('keys', join(paths.state, statePlaces.keys), 0o700),
    ...(await spaceChecks(paths, space)),
    ...(await volumeChecks(uppers)),
    quarantineCheck(paths.state),
  ];
}
