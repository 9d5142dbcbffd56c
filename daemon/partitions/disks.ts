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
  /** When it was asked which disks there are. */
  listedMs: number;
  counters: ReadonlyMap<string, BlockCounters>;
  disks: DiskNow[];
}

/** Where the kernel shows disks; tests have their own. */
const blockFolder = '/sys/block';

/** Which disks there are is asked this often: it costs more than to read what they did. */
const listEveryMs = 10_000;

function listed(root: string): BlockDevice[] {
  const all = blockDevices(root);
  const nvme = all.filter((one) => one.nvme);
  return nvme.length > 0 ? nvme : all;
}

/** Looks at the machine's disks; NVMe namespaces alone where there are any. */
export function lookAtDisks(
  before: DiskLook | undefined,
  atMs: number,
  root = blockFolder,
): DiskLook {
  const known = before !== undefined && atMs - before.listedMs < listEveryMs ? before : undefined;
  const counters = new Map<string, BlockCounters>();
  const disks: DiskNow[] = [];
  for (const { name, nvme, bytes } of known?.disks ?? listed(root)) {
    const now = readBlockCounters(name, root);
    if (now === undefined) continue;
    counters.set(name, now);
    const was = before?.counters.get(name);
    const rates = was && before && blockRates(was, now, atMs - before.atMs);
    disks.push({ name, nvme, bytes, ...(rates && { rates }) });
  }
  return { atMs, listedMs: known?.listedMs ?? atMs, counters, disks };
}

/** Less of the time with requests is the noise of an idle machine. */
const busyShare = 0.01;

/** It has something to do: what it does is worth another look soon. Pure. */
export const isBusy = ({ rates }: DiskNow): boolean =>
  rates !== undefined && (rates.inFlight > 0 || rates.busy >= busyShare);

/** All disks together. Latency is the mean of all their requests. Pure. */
export function allRates(disks: readonly DiskNow[]): BlockRates | undefined {
  const rates = disks.flatMap((disk) => (disk.rates ? [disk.rates] : []));
  if (rates.length === 0) return undefined;
  const sum = (of: (one: BlockRates) => number) => rates.reduce((all, one) => all + of(one), 0);
  const requests = sum((one) => one.requestsPerSecond);
  const waited = sum((one) => (one.latencyMs ?? 0) * one.requestsPerSecond);
  return {
    readBytesPerSecond: sum((one) => one.readBytesPerSecond),
    writtenBytesPerSecond: sum((one) => one.writtenBytesPerSecond),
    requestsPerSecond: requests,
    inFlight: sum((one) => one.inFlight),
    busy: Math.max(...rates.map(({ busy }) => busy)),
    ...(requests > 0 ? { latencyMs: waited / requests } : {}),
  };
}
