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

/** How disks are shared. @param root where the hierarchy with the io controller is mounted */
export function diskSharing(
  root: string,
  names: readonly string[],
  blocks = '/sys/block',
): DiskSharing[] {
  const costed = costDevices(textOf(`${root}/io.cost.qos`));
  return names.flatMap((name) => {
    const device = textOf(`${blocks}/${name}/dev`).trim();
    if (!/^\d+:\d+$/.test(device)) return [];
    const scheduler = schedulerIn(textOf(`${blocks}/${name}/queue/scheduler`));
    const by = costed.has(device) ? 'io.cost' : scheduler === 'bfq' ? 'bfq' : 'nothing';
    return [{ name, device, by, scheduler }];
  });
}
