/**
 * Things that take long to make, kept by the key of what they are made from: `KIND-KEY/` below the cache folder.
 * A folder is there whole or not at all.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(dirname(import.meta.dirname));

/** Where images, snapshots and machines of this checkout are. */
export const machineFolder = (): string =>
  process.env.PERSONAD_MACHINE_DIR ?? join(root, 'build/machine');

/** How many of one kind stay, and how long the others: a machine of an older image may still be started. */
const keptOfAKind = 3;
const keptMs = 2 * 3_600_000;

/** A key of what something is made from. */
export function keyOf(...parts: (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest('hex').slice(0, 16);
}

/**
 * The folder of `kind` for `key`; `make` fills an empty one where it is missing. Whoever dies while making leaves
 * nothing that counts, and the next one clears it away.
 */
export async function cached(
  kind: string,
  key: string,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const cache = machineFolder();
  const folder = join(cache, `${kind}-${key}`);
  if (!existsSync(folder)) {
    mkdirSync(cache, { recursive: true });
    clearUnfinished(cache);
    const making = join(cache, `making-${process.pid}-${kind}-${key}`);
    mkdirSync(making);
    try {
      await make(making);
      // Somebody else may have been faster: theirs is as good.
      if (!existsSync(folder)) renameSync(making, folder);
    } finally {
      rmSync(making, { recursive: true, force: true });
    }
  }
  const now = new Date();
  utimesSync(folder, now, now);
  dropOld(cache, kind);
  return folder;
}

function clearUnfinished(cache: string): void {
  for (const name of readdirSync(cache)) {
    const pid = /^making-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(cache, name), { recursive: true, force: true });
  }
}

function dropOld(cache: string, kind: string): void {
  const named = new RegExp(`^${kind}-[0-9a-f]{16}$`);
  const folders = readdirSync(cache)
    .filter((name) => named.test(name))
    .map((name) => ({ path: join(cache, name), usedMs: statSync(join(cache, name)).mtimeMs }))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { path, usedMs } of folders.slice(keptOfAKind))
    if (Date.now() - usedMs > keptMs) rmSync(path, { recursive: true, force: true });
}
