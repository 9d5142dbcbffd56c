import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '../changes/log.ts';
import { failedWith } from '../kernel/errno.ts';
import { openSealed } from '../kernel/sealed.ts';
import { layerFile } from './base-facts.ts';
import type { PersonasRoom } from './room.ts';

/** Bytes read at once. */
const pieceBytes = 1 << 20;
/** Resting this many times as long as reading took keeps the work to a tenth of one disk and one CPU. */
const restFactor = 9;
const fact = 'layers-checked';

interface Range {
  digest: string;
  file: string;
  offset: number;
  bytes: number;
}

/** A check that runs in the background. */
export interface Recheck {
  /** Settles when it has ended or was stopped; never rejects. */
  done: Promise<void>;
  stop(): void;
}

/**
 * Reads every layer again, once in each boot: after a power cut a file may hold other bytes than were written, though
 * its row stands. What is damaged is told to the log and to `damaged`, and not activated any more.
 */
export function startRecheck(
  room: PersonasRoom,
  { boot, log, rest = restFactor }: { boot: string; log: Log; rest?: number },
): Recheck {
  const stop = new AbortController();
  const work = async (): Promise<void> => {
    const row = await room.store.get('SELECT value FROM facts WHERE name = ?', fact);
    if (row?.value === boot) return;
    for (const range of await rangesOf(room)) {
      const problem = await problemOf(room, range, rest, stop.signal);
      if (problem === undefined) continue;
      room.damaged.set(range.digest, problem);
      log.error({ file: range.file, digest: range.digest, problem }, 'a layer is damaged');
    }
    const sql = 'INSERT OR REPLACE INTO facts VALUES (?, ?)';
    // What is damaged is looked at again at the next start: a file may have been put back.
    if (room.damaged.size === 0) await room.store.commitSoon((tx) => tx.run(sql, fact, boot));
  };
  const done = work().catch((error: unknown) => {
    if (!stop.signal.aborted) log.error({ err: error }, 'cannot check the layers');
  });
  return { done, stop: () => stop.abort() };
}

async function rangesOf({ store, book }: PersonasRoom): Promise<Range[]> {
  const ranges = new Map<string, Range>();
  for (const { digest, bytes } of await store.all('SELECT digest, bytes FROM layers')) {
    const file = layerFile(String(digest));
    ranges.set(file, { digest: String(digest), file, offset: 0, bytes: Number(bytes) });
  }
  for (const { layers } of book.personas()) {
    for (const layer of layers) if (!ranges.has(layer.file)) ranges.set(layer.file, layer);
  }
  return [...ranges.values()];
}

async function problemOf(
  room: PersonasRoom,
  { digest, file, offset, bytes }: Range,
  rest: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  signal.throwIfAborted();
  const handle = await openSealed(join(room.paths.state, file)).catch(() => undefined);
  // Removed meanwhile, or lost: opening it will say so.
  if (handle === undefined) return undefined;
  try {
    const hash = createHash('sha256');
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(bytes, 1)));
    for (let done = 0; done < bytes; ) {
      const startMs = performance.now();
      const want = Math.min(piece.length, bytes - done);
      const { bytesRead } = await handle.read(piece, 0, want, offset + done);
      if (bytesRead === 0) return 'it is too short';
      hash.update(piece.subarray(0, bytesRead));
      done += bytesRead;
      await pause(rest * (performance.now() - startMs), undefined, { signal });
    }
    return `sha256:${hash.digest('hex')}` === digest ? undefined : 'its bytes have changed';
  } catch (error) {
    // A block that does not fit the seal of its file, or that the disk has lost.
    if (failedWith(error, 'EIO', 'EUCLEAN')) return 'it cannot be read';
    throw error;
  } finally {
    await handle.close();
  }
}
