import { formatDuration, formatSize } from '../../ipc/values.ts';
import { type Application, factOf, type Origin } from './application.ts';
import type { RunFigures } from './run-figures.ts';
import { servedFolders } from './served.ts';

/**
 * What memory could gain an application. Its folders come into memory from the same disk, so its start is no quicker there; what is saved is
 * waiting: for writes, and for what it reads later. How often it waits for writes is counted where the file system tells; elsewhere, and
 * for what it reads, it is not known, but not more often than once for each page.
 */

const PAGE = 4096;
/** Bytes of one timed cold read; a wait for writes takes so much longer for each block that it carries. */
const BLOCK = 65_536;
/** Less of its time is lost in the noise of a measurement, and not worth memory of twice the size of its folders. */
const SHARE_LEAST = 0.01;
/** One run may have been an idle one. */
export const RUNS_LEAST = 2;

/** What a run has made its disk do. */
export type OnDisk = Required<
  Pick<RunFigures, 'ranMs' | 'writtenBytes' | 'laterReadBytes' | 'syncMs' | 'readMs'>
> &
  Pick<RunFigures, 'syncs'>;

/** That of a run whose data was on a disk of which the speed is known. */
export function onDisk(run: RunFigures): OnDisk | undefined {
  const { ranMs = 0, writtenBytes, laterReadBytes, syncMs, readMs, syncs } = run;
  if (writtenBytes === undefined || laterReadBytes === undefined) return undefined;
  if (ranMs <= 0 || syncMs === undefined || readMs === undefined) return undefined;
  const counted = syncs === undefined ? {} : { syncs };
  return { ranMs, writtenBytes, laterReadBytes, syncMs, readMs, ...counted };
}

/** How long a run can have waited for what it has written, in milliseconds. Pure. */
function writeWait({ writtenBytes, syncMs, readMs, syncs }: OnDisk): number {
  const eachPage = Math.ceil(writtenBytes / PAGE) * syncMs;
  if (syncs === undefined) return eachPage;
  // What nobody waits for costs nothing.
  return syncs === 0 ? 0 : syncs * syncMs + Math.floor(writtenBytes / BLOCK) * readMs;
}

/** The share of its time that a run can have waited for its disk at most: 0 to 1. Pure. */
export function diskWait(run: OnDisk): number {
  const { ranMs, laterReadBytes, readMs } = run;
  const readWait = Math.ceil(laterReadBytes / PAGE) * readMs;
  return Math.min(1, (writeWait(run) + readWait) / ranMs);
}

/** A share as people read it. */
export const shareText = (share: number): string => `${Number((share * 100).toPrecision(2))} %`;

/** The most that runs have waited, and of what it was reckoned; undefined where there are none. Pure. */
export function mostWait(runs: readonly OnDisk[]): { share: number; from: string } | undefined {
  const [most] = runs.toSorted((a, b) => diskWait(b) - diskWait(a));
  if (most === undefined) return undefined;
  const { ranMs, writtenBytes, laterReadBytes, syncMs, readMs, syncs } = most;
  const waits =
    syncs === undefined
      ? `${formatDuration(syncMs)} a page that waits`
      : `waited for ${syncs} times, ${formatDuration(syncMs)} each`;
  const from =
    `${runs.length === 1 ? 'one run' : `${runs.length} runs`} on the disk, at most ` +
    `${formatSize(writtenBytes)} written (${waits}) and ` +
    `${formatSize(laterReadBytes)} read after the start (${formatDuration(readMs)}) in ${formatDuration(ranMs)}`;
  return { share: Number(diskWait(most).toFixed(4)), from };
}

/** Whether memory is worth it, and why; `unmeasured` while too few runs were seen. */
export interface Gain {
  answer: 'gain' | 'no-gain' | 'unmeasured';
  why: string;
}

/** True where folders of it might come into memory, if somebody proposes that. */
export const mayGain = (application: Application): boolean =>
  (application.facts.profile ?? []).some(({ value }) => value === 'fast') &&
  servedFolders(application).length > 0;

const isSure = ({ confidence }: Origin): boolean => confidence >= RUNS_LEAST / (RUNS_LEAST + 2);

/** What was measured of it says. Pure. */
export function gainOf(application: Application): Gain {
  const known = factOf(application, 'diskWait');
  if (known === undefined || !isSure(known))
    return {
      answer: 'unmeasured',
      why: `what it waits for the disk is measured first, in ${RUNS_LEAST} runs as standard`,
    };
  const text = `it waits for the disk ${known.value > 0 ? `at most ${shareText(known.value)}` : 'none'} of its time (${known.from})`;
  return known.value < SHARE_LEAST
    ? { answer: 'no-gain', why: `memory would gain it nothing: ${text}` }
    : { answer: 'gain', why: text };
}
