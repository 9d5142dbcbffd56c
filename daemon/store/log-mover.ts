import type { Driver } from './store.ts';

/**
 * Commits after which the write-ahead log is moved into the database, and the idle time before it. The log then begins
 * anew in blocks that it owns: a commit that needs new ones from the file system takes twice as long.
 */
export const checkpointAfterCommits = 32;
const checkpointIdleMs = 250;

/** Moves the write-ahead log into the database, between commits and beside them. */
export interface LogMover {
  /** Counts a commit, and moves the log once there were enough and no other follows for a while. */
  committed(): void;
  /** Moves the log when there were enough commits: it is known that nobody waits. */
  paused(): void;
  close(): Promise<void>;
}

/** Over a connection of its own: on a busy disk moving takes a second, and commits go on meanwhile. */
export function moveLog(driver: Driver): LogMover {
  let commits = 0;
  let idle: NodeJS.Timeout | undefined;
  let moving: Promise<void> | undefined;
  let closed = false;

  const move = async (): Promise<void> => {
    // What stands in its way now is gone the next time.
    await driver.exec('PRAGMA wal_checkpoint(PASSIVE)').catch(() => undefined);
    moving = undefined;
  };
  const paused = (): void => {
    clearTimeout(idle);
    if (closed || moving !== undefined || commits < checkpointAfterCommits) return;
    commits = 0;
    moving = move();
  };
  return {
    committed() {
      commits += 1;
      if (commits < checkpointAfterCommits) return;
      clearTimeout(idle);
      idle = setTimeout(paused, checkpointIdleMs).unref();
    },
    paused,
    async close() {
      closed = true;
      clearTimeout(idle);
      await moving;
      await driver.close();
    },
  };
}
