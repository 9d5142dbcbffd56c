import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { privateTree, startLive } from '../security/live-daemon.ts';
import { mountImage } from '../support/mount-image.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { type Cut, randomFrom, StateBuilder } from './crash-states.ts';
import { Ledger } from './ledger.ts';
import { copyImage, type Kind, kinds, startRecordedDisk } from './recorded-disk.ts';
import { survey } from './survey.ts';
import { furnish, workHard } from './work.ts';
import { type LogEntry, readLog } from './write-log.ts';

const preload = fileURLToPath(new URL('./broken-sync.ts', import.meta.url));
const diskMib = 256;
/** Requests follow one another so closely that most cuts find several of them in flight. */
const restMs = 60;

/** Ways of making things durable that can be broken (broken-sync.ts). */
export type Sync = 'file' | 'folder' | 'file-system' | 'database' | `from:${string}`;

/** A day in the life of a daemon, with all that its disk was told. */
export interface Recording {
  folder: string;
  /** Where the daemon's trees were: rows name files by their whole path. */
  root: string;
  blank: string;
  log: string;
  entries: LogEntry[];
  /** Places of the file system whose writes are not torn. */
  whole: readonly number[];
  ledger: Ledger;
  /** From here on the power may fail: what all the work needs is there. */
  from: number;
}

/** Records a daemon at work on a disk of its own, with one of its syncs broken if wanted. */
export async function record(
  t: ExecutionContext,
  kind: Kind = kinds.ext4,
  broken?: Sync,
): Promise<Recording> {
  const folder = mkdtempSync(join(tmpdir(), 'personad-power-'));
  t.teardown(() =>
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }),
  );
  const root = privateTree(t);
  const disk = await startRecordedDisk(join(folder, 'disk'), join(root, 'state'), diskMib, kind);
  const end = async () => {
    await unmountBelow(root);
    await disk.end();
  };
  t.teardown(end);
  const extra = broken === undefined ? {} : { BROKEN_SYNC: broken };
  const words = broken === undefined ? [] : ['--import', preload];
  const daemon = await startLive(t, root, [], { words, environment: extra });
  const ledger = new Ledger(disk.position);
  mkdirSync(join(folder, 'trees'));
  const place = { daemon, folder: join(folder, 'trees'), ledger };
  await furnish(place);
  const from = disk.position();
  await workHard(place, restMs);
  await daemon.end('SIGTERM');
  await end();
  return {
    folder,
    root,
    blank: disk.blank,
    log: disk.log,
    entries: readLog(disk.log),
    whole: kind.whole,
    ledger,
    from,
  };
}

/**
 * Moments for the power to fail: half of them right after an answer, with everything lost that no flush asked for, for
 * that shows best what was promised too early; half of them anywhere, with anything lost.
 */
export function chooseCuts(
  { entries, ledger, from }: Recording,
  count: number,
  random: () => number,
): Cut[] {
  const answers = ledger.answers().filter((position) => position >= from);
  const ends = entries.map(({ end }) => end).filter((position) => position >= from);
  const pick = (positions: number[]) => positions[Math.floor(random() * positions.length)] ?? from;
  const cuts: Cut[] = [];
  for (let at = 0; at < count; at += 1) {
    const fates = ['some', 'some', 'lost', 'kept'] as const;
    const fate = fates[Math.floor(random() * fates.length)] ?? 'some';
    cuts.push(
      at % 2 === 0 ? { position: pick(answers), fate: 'lost' } : { position: pick(ends), fate },
    );
  }
  return cuts.sort((a, b) => a.position - b.position);
}

/** A state after a power cut, and what is wrong with it. */
export interface Verdict {
  cut: Cut;
  faults: string[];
}

/** Cuts the power at each of `cuts` and looks at what is left. Ends early when `enough` says so. */
export async function cutPower(
  recording: Recording,
  cuts: readonly Cut[],
  seed: number,
  enough: (verdict: Verdict) => boolean = () => false,
): Promise<Verdict[]> {
  const { folder, root, blank, log, entries, whole, ledger } = recording;
  const disk = join(folder, 'past.img');
  copyImage(blank, disk);
  const builder = new StateBuilder(disk, log, entries, whole);
  const verdicts: Verdict[] = [];
  for (const [index, cut] of cuts.entries()) {
    // A file of its own: whoever made a mount namespace meanwhile keeps the file system of the state before alive, and
    // that goes on writing to its disk.
    const image = join(folder, `state-${index}.img`);
    builder.build(cut, image, randomFrom(seed + index));
    const verdict = { cut, faults: await surveyImage(root, image, ledger, cut.position) };
    rmSync(image);
    verdicts.push(verdict);
    if (enough(verdict)) break;
  }
  return verdicts;
}

/** Mounts what the power cut left, as a machine does when it starts again, and surveys it. */
async function surveyImage(
  root: string,
  image: string,
  ledger: Ledger,
  position: number,
): Promise<string[]> {
  rmSync(join(root, 'run'), { recursive: true, force: true });
  mountImage(image, join(root, 'state'));
  try {
    return await survey(root, ledger, position);
  } finally {
    await unmountBelow(root);
  }
}
