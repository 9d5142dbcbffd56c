/** What the daemon asks of a writer: one line of JSON each, answered by one line. */
export type Ask =
  /** Tells how much the folders hold. */
  | { do: 'measure' }
  /** Tells whether the folders on the disk are what memory was filled with. */
  | { do: 'verify' }
  /**
   * Opens the folders: fills the empty `memory`, or takes up what is there. In it `N/data` is what the program sees of the folder at N, in
   * `N/taken` copies wait, and `N/base` says what the folder was.
   */
  | { do: 'open'; memory: string; fill: boolean }
  /** Groups of these versions are to be stopped from now on: two open files of each come through the descriptor 3. */
  | { do: 'stops'; versions: (1 | 2)[] }
  /** Copies what was changed, as far as it stands still. */
  | { do: 'prepare' }
  /** Copies the rest, in a moment in which the program is stopped (`freeze`), or nothing is written. */
  | { do: 'take'; mapped: string[]; freeze: boolean }
  /** Writes what was taken. */
  | { do: 'save'; takenMs: number }
  /** Tells how fast the disk of the home is. */
  | { do: 'time' }
  /**
   * Brings the last generation into the folders: `N/base` of `memory` is true no more then, and goes first. Also without `open`: then it is
   * what a crash has left.
   */
  | { do: 'finish'; memory?: string };

/** What a writer says before it stops the program. */
export const STOPPING = { said: 'stopping' } as const;

/** What a writer says. It is the word of the user as whom it runs. */
export type Answer =
  | { said: 'measured'; names: number; bytes: number }
  | { said: 'verified'; same: 0 | 1 }
  | { said: 'opened'; files: number; bytes: number; skipped: number }
  | { said: 'ready' }
  /** `onFuse`: a program serves the disk of a folder; it may be the one that would be stopped. */
  | { said: 'prepared'; onFuse: 0 | 1 }
  /** From now on the program is stopped; what was asked for is answered after it. */
  | typeof STOPPING
  | { said: 'taken'; frozenMs: number }
  /** It would have taken longer than the program may stand still. */
  | { said: 'late' }
  | { said: 'saved'; files: number; bytes: number }
  | { said: 'timed'; syncMs: number; readMs: number }
  /** `kept`: files of others that were put aside. */
  | { said: 'finished'; kept: number; stayed: number; takenMs?: number }
  | { said: 'failed'; problem: string };

/** What a writer is started with, as the first line. */
export interface Task {
  caller: { uid: number; gid: number; groups: number[] };
  /** The user's home: below it folders are reached without following a link. */
  home: string;
  folders: {
    /** Relative to the home; a byte string. */
    path: string;
  }[];
  /** The longest time for which it may be stopped. */
  frozenMsMax: number;
}
