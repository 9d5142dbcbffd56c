import { readBlockCounters } from '../kernel/block-devices.ts';
import { type Enclave, readEnclaves } from './enclave-rows.ts';
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
}

/** Closes enclaves that were opened with an idle time once nobody has a file of them open and their volume has rested for so long. */
export class IdleWatch {
  readonly #parts: IdleParts;
  readonly #seen = new Map<string, Seen>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: IdleParts) {
    this.#parts = parts;
  }

  /** Looks again and again, until `stop`. */
  start(): void {
    const { log } = this.#parts.room;
    this.#timer ??= setInterval(() => {
      this.#looking = this.#looking
        .then(() => this.look())
        .catch((err: unknown) => log.warn({ err }, 'cannot look after idle enclaves'));
    }, lookEveryMs).unref();
  }

  /** Looks once, and closes what has been idle for long enough. */
  async look(): Promise<void> {
    const { room, clock, close } = this.#parts;
    const open = (await readEnclaves(room.store)).filter(({ opened }) => opened?.idleMs);
    const names = new Set(open.map(({ name }) => name));
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    for (const enclave of open) {
      const { name, opened } = enclave;
      const restedMs = await this.#rest(enclave, clock());
      if (restedMs < (opened?.idleMs ?? 0)) continue;
      try {
        await close(name);
      } catch (err) {
        room.log.warn({ err, enclave: name }, 'cannot close an idle enclave, trying again');
      }
    }
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

  /** Ends the looking. */
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
