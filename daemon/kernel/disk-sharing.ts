import { readFileSync } from 'node:fs';
import { failedWith } from './errno.ts';

/** Who gives the requests of a disk their turn by the weights of groups. */
export interface DiskSharing {
  name: string;
  /** `MAJOR:MINOR`. */
  device: string;
  /** `nothing`: weights have no effect there. */
  by: 'io.cost' | 'bfq' | 'nothing';
  /** `none` where requests go to the disk as they come, as NVMe disks have it. */
  scheduler: string;
  /** Requests wait at it. Not so at an NVMe disk that the kernel takes for one with several paths: nothing can share it. */
  queues: boolean;
  /** io.cost is on without a goal or a bound: its weights act only while the queue of the disk is full. */
  unbound: boolean;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENODEV', 'ENOTDIR', 'EOPNOTSUPP')) return '';
    throw error;
  }
}

/** The scheduler in force of a text like /sys/block/NAME/queue/scheduler. Pure. */
export function schedulerIn(text: string): string {
  return /\[([\w-]{1,32})\]/.exec(text)?.[1] ?? 'none';
}

/** The devices with io.cost on, of a text like io.cost.qos. Pure. */
export function costDevices(text: string): Set<string> {
  const on = text.matchAll(/^(\d+:\d+) (?:.* )?enable=1\b/gm);
  return new Set([...on].map(([, device = '']) => device));
}

/** The devices whose line of a text like io.cost.qos has neither a goal for latency nor a bound. Pure. */
export function unboundDevices(text: string): Set<string> {
  const lines = text.matchAll(
    /^(\d+:\d+) (?=.*\brpct=0\.00\b)(?=.*\bwpct=0\.00\b).*\bmax=10000\.00\b/gm,
  );
  return new Set([...lines].map(([, device = '']) => device));
}

/** How disks are shared. @param root where the hierarchy with the io controller is mounted */
export function diskSharing(
  root: string,
  names: readonly string[],
  blocks = '/sys/block',
): DiskSharing[] {
  const qos = textOf(`${root}/io.cost.qos`);
  const [costed, loose] = [costDevices(qos), unboundDevices(qos)];
  return names.flatMap((name) => {
    const device = textOf(`${blocks}/${name}/dev`).trim();
    if (!/^\d+:\d+$/.test(device)) return [];
    const schedulers = textOf(`${blocks}/${name}/queue/scheduler`);
    const scheduler = schedulerIn(schedulers);
    const by = costed.has(device) ? 'io.cost' : scheduler === 'bfq' ? 'bfq' : 'nothing';
    const unbound = by === 'io.cost' && loose.has(device);
    return [{ name, device, by, scheduler, queues: schedulers !== '', unbound }];
  });
}
