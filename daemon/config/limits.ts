/** Bounds of everything a caller can make grow. Each with the reason for its value; times in ms. */
export const limits = {
  /** Queued and running changes of one owner: more than a person follows, too few to fill the queue. */
  changesPerOwnerMax: 8,
  /** Queued and running changes of all owners: the queue is scanned at each end of a change. */
  changesMax: 64,
  /** Of `changesMax`, places only root can take: a flood by users never locks root out. */
  changesForRootMin: 16,
  /** Changes that run at once: two CPUs, and each may have confined children. */
  runningMax: 8,
  /** Of `runningMax`, places only root can take. Of the others one account has at most half. */
  runningForRootMin: 2,
  /** Ended changes that are kept for `change show`. */
  historyMax: 1_000,
  /** Longest `do` or `undo` of a task that names no deadline of its own. */
  taskTimeoutMs: 15 * 60_000,
  /** How long a task may take to end after its signal was aborted; then the change is stuck. */
  taskGraceMs: 30_000,
  /** Progress of one change is sent to its followers at most this often. */
  progressEveryMs: 100,
  /** Followers of one change: each is a connection, and those are limited per uid already. */
  followersMax: 64,
  /** JSON of one task's parameters or saved value: the journal is not a place for data. */
  journalValueBytesMax: 256 * 1024,
  /** Tasks of one plan. */
  tasksMax: 256,
} as const;

/** The limits the change engine takes; tests hand in smaller ones. */
export type ChangeLimits = { readonly [K in keyof typeof limits]: number };
