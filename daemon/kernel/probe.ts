import type { ErofsWay } from './erofs.ts';
import type { FlipWay } from './flip.ts';
import type { LowerWay } from './overlay.ts';
import { probeHost } from './probe-host.ts';
import { type MountFindings, probeMounts } from './probe-mounts.ts';
import { statMount } from './stat-mount.ts';

/** One thing the machine can or cannot do, found out by doing it. */
export interface Capability {
  id: string;
  works: boolean;
  /** What was seen: the kernel's words, a version, or the reason of a failure. */
  detail: string;
  /** What personad does with it. */
  usedFor: string;
  /** What happens without it, and how to get it. */
  fix: string;
  /** Without it slots cannot work at all (true) or something is slower, older or missing (false). */
  needed: boolean;
}

/** The ways this machine gets its work done. Each may be forced by tests. */
export interface Ways {
  erofs: ErofsWay;
  lowers: LowerWay;
  flip: FlipWay;
  /** Layers can be shown with shifted ids: root in a slot is nobody on the host. */
  idmap: boolean;
  /** The state folder can hold writable layers. */
  uppers: boolean;
}

export interface Capabilities {
  list: Capability[];
  ways: Ways;
}

let cached: { key: string; result: Promise<Capabilities> } | undefined;

/**
 * What this machine can do, found out once per process by doing it in small.
 * @param state folder on the file system that holds slots (a scratch folder is made in it and removed);
 * @param run folder for a mount that exists for some milliseconds; @param uppers folder that holds writable layers, when it is
 * not `state`: found out anew once something else is mounted there.
 */
export function capabilities(state: string, run: string, uppers = state): Promise<Capabilities> {
  const key = [state, run, uppers, statMount(uppers).mountId].join('\0');
  if (cached?.key !== key) cached = { key, result: probe(state, run, uppers) };
  return cached.result;
}

async function probe(state: string, run: string, uppers: string): Promise<Capabilities> {
  const [mounts, host] = await Promise.all([probeMounts(state, run, uppers), probeHost()]);
  return { list: [...mounts.list, ...host], ways: waysOf(mounts) };
}

function waysOf({ works }: MountFindings): Ways {
  return {
    erofs: works('erofs-offset') ? 'file-offset' : works('erofs-file') ? 'file' : 'loop',
    lowers: works('lowerdir-fd') ? 'fd' : works('lowerdir-path') ? 'path' : 'staging',
    flip: works('mount-beneath') ? 'beneath' : 'symlink',
    idmap: works('idmapped-layers'),
    uppers: works('uppers'),
  };
}
