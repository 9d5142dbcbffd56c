import { type WriterChild, WriterFailed } from './writer-child.ts';

/** How long one step may take; `stoppedMs`: one in which the program stands still, which its writer itself keeps much shorter. */
export const deadlines = {
  openMs: 600_000,
  // A hundred thousand small files take half a minute on a busy machine; whoever is ended too early begins anew, and never comes further.
  prepareMs: 600_000,
  copyMs: 60_000,
  stoppedMs: 10_000,
  saveMs: 600_000,
  finishMs: 600_000,
};

/** A program that cannot be stopped long enough is tried so often; then the next time counts. */
const TRIES = 3;

/** The program whose data it is, with all that runs of it. */
export interface Running {
  /** Some of it runs. */
  populated: boolean;
  /** It can be stopped for moments: the writer has been told which groups. */
  freezable: boolean;
  /** Why it is not stopped, where it could be. */
  spared?: string;
  /** It serves a file system itself (FUSE). Unless told it may. */
  servesFuse?(): Promise<boolean>;
  /** Files that it has mapped to write them, by inode. */
  mapped(): Promise<ReadonlySet<string>>;
  /** More of it has begun since this was found out: that was not stopped. */
  hasGrown?(): boolean;
}

/** What a write-back did. */
export interface Synced {
  /** The moment that is on the disk now. */
  takenMs: number;
  frozenMs: number;
  files: number;
  bytes: number;
}

/**
 * Writes back what a program has changed in memory, as it is at one moment: copies ahead, stops the program for what is left, lets it go on, and
 * writes. Throws WriterFailed; what was written before counts then.
 * @param running finds out what runs, before each try.
 */
export async function sync(
  writer: WriterChild,
  running: () => Promise<Running>,
  now: () => number,
): Promise<Synced> {
  const { takenMs, frozenMs } = await take(writer, running, now);
  const { files, bytes } = await writer.ask({ do: 'save', takenMs }, 'saved', deadlines.saveMs);
  return { takenMs, frozenMs, files, bytes };
}

async function take(writer: WriterChild, running: () => Promise<Running>, now: () => number) {
  for (let tries = 1; ; tries += 1) {
    const { onFuse } = await writer.ask({ do: 'prepare' }, 'prepared', deadlines.prepareMs);
    const program = await running();
    const { populated } = program;
    // Its writer would wait for a program that waits for its writer.
    const servesDisk = onFuse === 1 && ((await program.servesFuse?.()) ?? true);
    const spared = servesDisk ? 'as it may serve its own disk (FUSE)' : program.spared;
    const freezable = program.freezable && spared === undefined;
    const mapped = populated ? [...(await program.mapped())] : [];
    // Bytes that change while they are copied would be torn.
    if (mapped.length > 0 && !freezable) {
      const why = spared === undefined ? 'cannot be stopped' : `is not stopped, ${spared}`;
      throw new WriterFailed(`it writes into mapped files, and ${why}`, true);
    }
    const takenMs = now();
    const freeze = populated && freezable;
    const deadlineMs = freeze ? deadlines.stoppedMs : deadlines.copyMs;
    try {
      const { frozenMs } = await writer.take(mapped, freeze, deadlineMs);
      if (program.hasGrown?.()) throw new WriterFailed('it starts again and again', true);
      return { takenMs, frozenMs };
    } catch (error) {
      const again = error instanceof WriterFailed && error.late && tries < TRIES;
      if (!again) throw error;
    }
  }
}
