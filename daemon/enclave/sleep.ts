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

/** An enclave that is to be closed before the machine sleeps. */
export interface Asked {
  enclave: string;
  /** Of one that is being opened: resolves when it is open, or the opening undone. */
  ended?: Promise<void>;
}

/** What closing needs from outside. */
export interface SleepParts {
  room: EnclaveRoom;
  /** Those that are being opened now. */
  openings(): Asked[];
  /** Closes an enclave, whoever uses it. True when a program still holds a file of it. */
  close(name: string): Promise<boolean>;
  /** How long to wait; for the tests. */
  deadlineMs?: number;
}

async function askedToClose({ room, openings }: SleepParts): Promise<Asked[]> {
  // These first: one that ends meanwhile is found by its row at the latest.
  const opening = openings();
  const names = new Set(opening.map(({ enclave }) => enclave));
  const open = (await readEnclaves(room.store))
    .filter(({ name, opened }) => opened?.beforeSleep === true && !names.has(name))
    .map(({ name }) => ({ enclave: name }));
  return [...opening, ...open];
}

/**
 * Closes all enclaves that were opened to be closed before the machine sleeps, at one time. Programs inside are neither waited for nor
 * ended: what is secret is to be gone before the lid is shut. Meanwhile no such opening succeeds: one that is under way is refused when its key is
 * known, or closed when it has ended. What is not closed in time is named, and goes on being closed.
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
  const isOpen = async (name: string) =>
    (await readEnclave(room.store, name))?.opened !== undefined;
  const one = async ({ enclave, ended }: Asked) => {
    let beingOpened = ended !== undefined;
    const closing = async () => {
      await ended;
      beingOpened = false;
      return (await isOpen(enclave)) ? await close(enclave) : undefined;
    };
    try {
      const held = await Promise.race([closing(), late.promise]);
      if (held !== undefined) (held ? result.held : result.closed).push(enclave);
    } catch (error) {
      // It was being closed by itself.
      if (!beingOpened && !(await isOpen(enclave))) return void result.closed.push(enclave);
      const reason = (error as Error).message;
      result.left.push({ enclave, reason });
      room.problems.set(enclave, `it was to be closed before the machine sleeps: ${reason}`);
      room.log.error({ enclave, reason }, 'an enclave stays open while the machine sleeps');
    }
  };
  room.sleeps += 1;
  try {
    await Promise.all((await askedToClose(parts)).map(one));
  } finally {
    room.sleeps -= 1;
    clearTimeout(timer);
  }
  return result;
}
