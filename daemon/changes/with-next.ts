import type { Entry, Journal } from './journal.ts';

/** How long an entry waits for the next one of its change: longer than most swaps take. */
const waitMs = 20;

/** An entry that waits for the next one of its change. */
interface Waiting {
  entry: Entry;
  timer: NodeJS.Timeout;
  written: PromiseWithResolvers<void>;
  /** The write that has it now; never rejects. */
  writing?: Promise<void>;
}

/** Two entries of one change as one. */
function joined(first: Entry, next: Entry | undefined): Entry {
  return { ...first, ...next, events: [...first.events, ...(next?.events ?? [])] };
}

/** The two ways to append over `write`, which commits an entry. */
export function withNext(
  write: (entry: Entry, durable: boolean) => Promise<void>,
): Pick<Journal, 'append' | 'appendWithNext'> {
  const waiting = new Map<number, Waiting>();

  /** Writes what waits of a change, and `next` behind it. When that fails it waits on, for the one after. */
  async function writeWith(first: Waiting, next?: Entry): Promise<void> {
    clearTimeout(first.timer);
    const work = write(joined(first.entry, next), next !== undefined);
    first.writing = work.catch(() => undefined);
    try {
      await work;
      waiting.delete(first.entry.changeId);
      first.written.resolve();
    } catch (error) {
      first.written.reject(error);
      throw error;
    } finally {
      delete first.writing;
    }
  }

  return {
    async append(entry) {
      await waiting.get(entry.changeId)?.writing;
      const first = waiting.get(entry.changeId);
      await (first === undefined ? write(entry, true) : writeWith(first, entry));
    },
    appendWithNext(entry) {
      const written = Promise.withResolvers<void>();
      // Who does not wait for it hears of a failure from the next entry, which carries it again.
      written.promise.catch(() => undefined);
      const alone = () => {
        if (first.writing === undefined) writeWith(first).catch(() => undefined);
      };
      const first: Waiting = { entry, timer: setTimeout(alone, waitMs), written };
      waiting.set(entry.changeId, first);
      return written.promise;
    },
  };
}
