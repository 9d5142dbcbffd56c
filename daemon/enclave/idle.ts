import { readBlockCounters } from '../kernel/block-devices.ts';
import { type Enclave, readEnclave, readEnclaves } from './enclave-rows.ts';
import type { EnclaveRoom } from './room.ts';
import { deviceOf, insideOf } from './volume.ts';

/** Time between two looks. An enclave is closed at most this much later than was asked. */
const lookEveryMs = 5_000;

/** What a look saw of one enclave. */
interface Seen {
  /** Since when it is the same enclave, unused. */
  sinceMs: number;
  openedMs: number;
  /** Requests that its volume has ended. */
  requests: number;
}

/** What a watch needs from outside. */
export interface IdleParts {
  room: EnclaveRoom;
  /** Milliseconds of a clock that is never set. */
  clock(): number;
  /** Closes an enclave that nobody uses. */
  close(name: string): Promise<void>;
  /** Time between two looks; for the tests. */
  everyMs?: number;
}

/** Closes enclaves that were opened with an idle time once nobody has a file of them open and their volume has rested for so long. */
export class IdleWatch {
  readonly #parts: IdleParts;
  readonly #seen = new Map<string, Seen>();
  /** Owners of those that are being closed. */
  readonly #closing = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(parts: IdleParts) {
    this.#parts = parts;
  }

  /** Looks again and again, until `stop`. */
  start(): void {
    const { room, everyMs = lookEveryMs } = this.#parts;
    this.#timer ??= setInterval(() => {
      this.#looking ??= this.look()
        .catch((err: unknown) => room.log.warn({ err }, 'cannot look after idle enclaves'))
        .finally(() => {
          this.#looking = undefined;
        });
    }, everyMs).unref();
  }

  /** Looks once, and begins to close what has been idle for long enough. */
  async look(): Promise<void> {
    const { room } = this.#parts;
    // Before the rows are read: what is closed by then has none that says open.
    const closing = new Set(this.#closing);
    const open = (await readEnclaves(room.store)).filter(({ opened }) => opened?.idleMs);
    const names = new Set(open.map(({ name }) => name));
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    const due: Enclave[] = [];
    for (const enclave of open)
      if ((await this.#isIdle(enclave)) && !closing.has(enclave.owner)) due.push(enclave);
    for (const [owner, his] of Map.groupBy(due, (one) => one.owner)) void this.#close(owner, his);
  }

  /**
   * Closes enclaves of one user, one after the other, so that he takes one place of all changes. Nobody waits for it: it may take long, and
   * the changes are the engine's.
   */
  async #close(owner: number, enclaves: Enclave[]): Promise<void> {
    const { room, close } = this.#parts;
    this.#closing.add(owner);
    for (const { name } of enclaves)
      try {
        // The one before may have taken long.
        const now = await readEnclave(room.store, name);
        if (now !== undefined && (await this.#isIdle(now))) await close(name);
      } catch (err) {
        room.log.warn({ err, enclave: name }, 'cannot close an idle enclave, trying again');
      }
    this.#closing.delete(owner);
  }

  async #isIdle(enclave: Enclave): Promise<boolean> {
    const { idleMs } = enclave.opened ?? {};
    return idleMs !== undefined && (await this.#rest(enclave, this.#parts.clock())) >= idleMs;
  }

  /** How long it has not been used, by this look and those before. */
  async #rest(enclave: Enclave, nowMs: number): Promise<number> {
    const { room } = this.#parts;
    const { name } = enclave;
    const openedMs = enclave.opened?.ms ?? 0;
    const requests = requestsOf(deviceOf(room, name));
    const inside = await insideOf(room, enclave);
    const before = this.#seen.get(name);
    const same =
      before?.openedMs === openedMs && before.requests === requests && inside.length === 0;
    const sinceMs = same ? before.sinceMs : nowMs;
    this.#seen.set(name, { sinceMs, openedMs, requests });
    return nowMs - sinceMs;
  }

  /** Ends the looking. What is being closed goes on. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }
}

/** Requests that the device (`major:minor`) has ended. */
function requestsOf(device: string | undefined): number {
  const counters = device === undefined ? undefined : readBlockCounters(device, '/sys/dev/block');
  return counters === undefined ? 0 : counters.reads + counters.writes;
}
