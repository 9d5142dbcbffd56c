import { readdirSync, readFileSync } from 'node:fs';
import { failedWith } from './errno.ts';

/** Counters of one block device since boot (Documentation/block/stat.rst). Times in ms. */
export interface BlockCounters {
  reads: number;
  readBytes: number;
  readMs: number;
  writes: number;
  writtenBytes: number;
  writeMs: number;
  /** Requests that the device has now. */
  inFlight: number;
  /** Time in which it had any. */
  busyMs: number;
}

/** A disk of the machine. */
export interface BlockDevice {
  name: string;
  /** An NVMe namespace. */
  nvme: boolean;
  bytes: number;
}

/** Sectors of these files have 512 bytes, whatever the device has. */
const SECTOR = 512;

/** The text of /sys/block/NAME/stat, or undefined when it is none. Pure. */
export function parseBlockStat(text: string): BlockCounters | undefined {
  const fields = text.trim().split(/\s+/).map(Number);
  if (fields.length < 11 || fields.some((field) => !Number.isFinite(field) || field < 0))
    return undefined;
  const [reads = 0, , readSectors = 0, readMs = 0, writes = 0, , writtenSectors = 0] = fields;
  const [writeMs = 0, inFlight = 0, busyMs = 0] = fields.slice(7);
  return {
    reads,
    readBytes: readSectors * SECTOR,
    readMs,
    writes,
    writtenBytes: writtenSectors * SECTOR,
    writeMs,
    inFlight,
    busyMs,
  };
}

/** What happened to a device between two looks. */
export interface BlockRates {
  readBytesPerSecond: number;
  writtenBytesPerSecond: number;
  /** Reads and writes that ended. */
  requestsPerSecond: number;
  /** Mean time of the requests that ended meanwhile; absent when none did. */
  latencyMs?: number;
  inFlight: number;
  /** Share of the time in which it had requests, 0 to 1. */
  busy: number;
}

/** A counter that went backwards belongs to another device of that name, or has wrapped: it says nothing. */
const grown = (now: number, before: number): number => Math.max(0, now - before);

/** Rates between two looks `ms` apart. Pure. */
export function blockRates(before: BlockCounters, now: BlockCounters, ms: number): BlockRates {
  const seconds = Math.max(1, ms) / 1000;
  const ended = grown(now.reads, before.reads) + grown(now.writes, before.writes);
  const waited = grown(now.readMs, before.readMs) + grown(now.writeMs, before.writeMs);
  return {
    readBytesPerSecond: grown(now.readBytes, before.readBytes) / seconds,
    writtenBytesPerSecond: grown(now.writtenBytes, before.writtenBytes) / seconds,
    requestsPerSecond: ended / seconds,
    ...(ended > 0 ? { latencyMs: waited / ended } : {}),
    inFlight: now.inFlight,
    busy: Math.min(1, grown(now.busyMs, before.busyMs) / Math.max(1, ms)),
  };
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENODEV', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Counters of the device now; undefined when it has been taken away. */
export function readBlockCounters(name: string, root = '/sys/block'): BlockCounters | undefined {
  return parseBlockStat(textOf(`${root}/${name}/stat`) ?? '');
}

/** What is made of other disks or of memory, and the single paths of an NVMe namespace: no disks of the machine. */
const VIRTUAL = /^(loop|ram|zram|dm-|md|nbd|sr|fd)\d*|^nvme\d+c\d+n\d+/;

/** The disks of the machine with something in them, by name. */
export function blockDevices(root = '/sys/block'): BlockDevice[] {
  let names: string[];
  try {
    names = readdirSync(root).sort();
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return [];
    throw error;
  }
  return names
    .filter((name) => !VIRTUAL.test(name))
    .map((name) => {
      const sectors = Number(textOf(`${root}/${name}/size`) ?? 0);
      return { name, nvme: name.startsWith('nvme'), bytes: sectors * SECTOR };
    })
    .filter(({ bytes }) => bytes > 0);
}

/** A namespace of an NVMe disk: what the kernel shows as a disk of its own. */
export interface NvmeNamespace {
  name: string;
  /** The disk it is a part of, as the kernel names it, and by its maker. */
  controller: string;
  model: string;
  /** Its number on that disk; absent where the kernel does not tell. */
  nsid?: number;
  bytes: number;
  /** What the disk reads and writes at a time. */
  blockBytes: number;
}

/** The namespaces of the machine's NVMe disks, by name. */
export function nvmeNamespaces(root = '/sys/block'): NvmeNamespace[] {
  return blockDevices(root)
    .filter(({ nvme }) => nvme)
    .map(({ name, bytes }) => {
      const word = (file: string) => (textOf(`${root}/${name}/${file}`) ?? '').trim();
      const nsid = Number(word('nsid') || Number.NaN);
      return {
        name,
        controller: name.replace(/n\d+$/, ''),
        model: word('device/model').slice(0, 128),
        ...(Number.isSafeInteger(nsid) && nsid > 0 ? { nsid } : {}),
        bytes,
        blockBytes: Number(word('queue/logical_block_size')) || SECTOR,
      };
    });
}
