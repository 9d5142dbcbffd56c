import { readEnclave, readEnclaves } from './enclave-rows.ts';
import type { EnclaveRoom } from './room.ts';

/** Sleep is not kept waiting for longer than this. */
export const sleepDeadlineMs = 5_000;

/** What became of the enclaves that were to be closed. */
export interface Closings {
  closed: string[];
  /** Closed, but a program holds a file of it. */
  held: string[];
  /** Still open. */
  left: { enclave: string; reason: string }[];
}

/** What closing needs from outside. */
export interface SleepParts {
  room: EnclaveRoom;
  /** Closes an enclave, whoever uses it. True when a program still holds a file of it. */
  close(name: string, owner: number): Promise<boolean>;
  /** How long to wait; for the tests. */
  deadlineMs?: number;
}

/**
 * Closes all enclaves that were opened to be closed before the machine sleeps, at one time. Programs inside are neither waited for nor
 * ended: what is secret is to be gone before the lid is shut. What is not closed in time is named, and goes on being closed.
 */
export async function closeForSleep(parts: SleepParts): Promise<Closings> {
  const { room, close, deadlineMs = sleepDeadlineMs } = parts;
  const result: Closings = { closed: [], held: [], left: [] };
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => undefined);
  const timer = setTimeout(
    () => late.reject(new Error(`not within ${deadlineMs / 1000} s`)),
    deadlineMs,
  );
  const one = async (name: string, owner: number) => {
    try {
      const held = await Promise.race([close(name, owner), late.promise]);
      (held ? result.held : result.closed).push(name);
    } catch (error) {
      // It was being closed by itself.
      if ((await readEnclave(room.store, name))?.opened === undefined)
        return void result.closed.push(name);
      const reason = (error as Error).message;
      result.left.push({ enclave: name, reason });
      room.problems.set(name, `it was to be closed before the machine sleeps: ${reason}`);
      room.log.error({ enclave: name, reason }, 'an enclave stays open while the machine sleeps');
    }
  };
  const asked = (await readEnclaves(room.store)).filter(({ opened }) => opened?.beforeSleep);
  await Promise.all(asked.map(({ name, owner }) => one(name, owner)));
  clearTimeout(timer);
  return result;
}
