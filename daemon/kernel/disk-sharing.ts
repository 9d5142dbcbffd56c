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
  /** What io.cost.qos says of it. */
  cost: string;
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

/**
 * What a text like io.cost.qos says of a device; of one that was never set, what the kernel starts with. With `ctrl=auto` its
 * figures are the kernel's own, which change by themselves: they are left out. Undefined for what it cannot say. Pure.
 */
export function costOf(text: string, device: string): string | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${device} `));
  if (line === undefined) return 'enable=0 ctrl=auto';
  const words = line.slice(device.length).trim();
  return /^enable=[01] ctrl=(?:auto|user\b.*)/.exec(words)?.[0];
}

/** Somebody has said what the disk can do: a goal for latency, or a bound. @param cost as of `costOf`. Pure. */
export function hasGoal(cost: string): boolean {
  return cost.includes('ctrl=user') && !/\brpct=0\.00 .*\bwpct=0\.00 .*\bmax=10000\.00/.test(cost);
}

/** How disks are shared. @param root where the hierarchy with the io controller is mounted */
export function diskSharing(
  root: string,
  names: readonly string[],
  blocks = '/sys/block',
): DiskSharing[] {
  const qos = textOf(`${root}/io.cost.qos`);
  return names.flatMap((name) => {
    const device = textOf(`${blocks}/${name}/dev`).trim();
    if (!/^\d+:\d+$/.test(device)) return [];
    const schedulers = textOf(`${blocks}/${name}/queue/scheduler`);
    const scheduler = schedulerIn(schedulers);
    const cost = costOf(qos, device) ?? '';
    const costed = cost.startsWith('enable=1');
    const by = costed ? 'io.cost' : scheduler === 'bfq' ? 'bfq' : 'nothing';
    const unbound = costed && !hasGoal(cost);
    return [{ name, device, by, scheduler, queues: schedulers !== '', unbound, cost }];
  });
}
