import type { Speed } from '../kernel/disk-speed.ts';
import type { Task } from './talk.ts';
import { WriterChild } from './writer-child.ts';

/** A disk that takes longer is none that can be waited for. */
const DEADLINE_MS = 10_000;

/** How fast the disk is on which a user's home lies, measured as that user with a file without a name. */
export async function homeSpeed({ caller, home }: Pick<Task, 'caller' | 'home'>): Promise<Speed> {
  const writer = await WriterChild.start({ caller, home, folders: [], frozenMsMax: 0 });
  try {
    const { syncMs, readMs } = await writer.ask({ do: 'time' }, 'timed', DEADLINE_MS);
    return { syncMs, readMs };
  } finally {
    await writer.end();
  }
}
