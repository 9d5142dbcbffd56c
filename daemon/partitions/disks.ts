import {
  type BlockCounters,
  type BlockDevice,
  type BlockRates,
  blockDevices,
  blockRates,
  readBlockCounters,
} from '../kernel/block-devices.ts';

/** A disk and what it does. */
export interface DiskNow extends BlockDevice {
  /** Absent at the first look. */
  rates?: BlockRates;
}

/** A look at all disks, to be compared with the one before. */
export interface DiskLook {
  atMs: number;
  counters: ReadonlyMap<string, BlockCounters>;
  disks: DiskNow[];
}

/** Looks at the machine's disks; NVMe namespaces alone where there are any. */
export function lookAtDisks(before: DiskLook | undefined, atMs: number): DiskLook {
  const all = blockDevices();
  const nvme = all.filter((one) => one.nvme);
  const counters = new Map<string, BlockCounters>();
  const disks: DiskNow[] = [];
  for (const disk of nvme.length > 0 ? nvme : all) {
    const now = readBlockCounters(disk.name);
    if (now === undefined) continue;
    counters.set(disk.name, now);
    const was = before?.counters.get(disk.name);
    const rates = was && before && blockRates(was, now, atMs - before.atMs);
    disks.push({ ...disk, ...(rates && { rates }) });
  }
  return { atMs, counters, disks };
}

/** All disks together. Latency is the mean of those that did something. Pure. */
export function allRates(disks: readonly DiskNow[]): BlockRates | undefined {
  const rates = disks.flatMap((disk) => (disk.rates ? [disk.rates] : []));
  if (rates.length === 0) return undefined;
  const sum = (of: (one: BlockRates) => number) => rates.reduce((all, one) => all + of(one), 0);
  const slow = rates.flatMap(({ latencyMs }) => (latencyMs === undefined ? [] : [latencyMs]));
  return {
    readBytesPerSecond: sum((one) => one.readBytesPerSecond),
    writtenBytesPerSecond: sum((one) => one.writtenBytesPerSecond),
    inFlight: sum((one) => one.inFlight),
    busy: Math.max(...rates.map(({ busy }) => busy)),
    ...(slow.length > 0
      ? { latencyMs: slow.reduce((all, one) => all + one, 0) / slow.length }
      : {}),
  };
}
