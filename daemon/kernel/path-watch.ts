import { watch } from 'node:fs';

/** Something that is watched until it is let go of. */
export interface PathWatch {
  close(): void;
}

/**
 * Tells when names in a folder come and go, or a file says something new; by inotify, which works on control groups too. Undefined when there is
 * nothing at the path. News may be lost when there are very many: who needs all looks again from time to time.
 */
export function watchPath(
  path: string,
  changed: (name: string | undefined) => void,
): PathWatch | undefined {
  try {
    const watcher = watch(path, { persistent: false }, (_, name) => changed(name ?? undefined));
    // It is gone, or there are no watches left: both show when somebody looks.
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
