import type { InferOutput } from 'valibot';
import type { Caller } from '../../ipc/connection.ts';
import type { Access } from '../../ipc/method.ts';
import type {
  Answer,
  ChangeMethod,
  ChangeResult,
  Methods,
  SyncMethod,
} from '../../ipc/methods/index.ts';
import type { Input, SlotPage } from '../../ipc/methods/shapes.ts';
import type { Plan } from '../changes/change.ts';
import type { Json } from '../changes/task.ts';
import type { Secret } from '../config/secret.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import type { Outlet } from './outlet.ts';
import type { Download } from './tickets.ts';

/** Checked parameters of a method. */
export type Checked<M extends keyof Methods> = InferOutput<Methods[M]['params']>;

/** What a room is told about a request. */
export interface Request {
  caller: Caller;
  /** What the caller may do at most. */
  level: Access;
  /** The change is only planned: nothing may be consumed. */
  dryRun: boolean;
  /** Aborted when the connection is gone: with EPIPE or ECONNRESET when the caller has not read the answer. */
  readonly gone: AbortSignal;
  /**
   * The file behind an input of the request. An upload is the room's from here on: it removes the file
   * when the change has ended. `path` inputs were checked: only root names them.
   */
  input(input: Input): { path: string; uploaded: boolean; bytes: number | undefined };
  /** The secret behind a ticket: the room's from here on, to be wiped when it is not needed any more. */
  secret(ticket: string): Secret<LockedBytes>;
  /** A credential of the service, the same way. Only root may name one. Throws `credential-unusable`. */
  credential(name: string): Secret<LockedBytes>;
  /** Where the change writes what the holder of this ticket fetches. The change closes it. */
  output(ticket: string): Outlet;
}

/** What a room answers to a method of kind `change`. */
export interface Planned<M extends ChangeMethod> {
  plan: Plan;
  /** The result of the method, from what the change gave; the given value itself when absent. */
  answer?: (given: Json | undefined) => Promise<ChangeResult<M>> | ChangeResult<M>;
}

/** Methods that daemon/api/ answers itself, from the engine and the parts below. */
export type OwnMethod =
  | 'daemon.ping'
  | 'daemon.status'
  | 'bulk.open'
  | 'persona.export'
  | Extract<SyncMethod, `change.${string}`>;

type SyncRooms = {
  [M in Exclude<SyncMethod, OwnMethod>]: (
    params: Checked<M>,
    request: Request,
  ) => Promise<Answer<M>> | Answer<M>;
};

type ChangeRooms = {
  [M in ChangeMethod]: (params: Checked<M>, request: Request) => Promise<Planned<M>> | Planned<M>;
};

type Status = Answer<'daemon.status'>;

/** Everything that wiring hands to the API: one function per method, and the parts of the rest. */
export interface Rooms extends SyncRooms, ChangeRooms {
  /** The persona file to send; the API turns it into a ticket. */
  'persona.export'(
    params: Checked<'persona.export'>,
    request: Request,
  ): Promise<Download & { bytes: number; digest: string; fileName: string }>;
  /** Parts of the status page. */
  status: {
    daemon(): Omit<Status['daemon'], 'pid' | 'version'>;
    machine(): Status['machine'];
    /** Of everybody; the API leaves out what the caller may not see. */
    slots(): Promise<SlotPage[]>;
    space(): Status['space'];
    /** Nothing before the first look. */
    memory(): Status['memory'];
    inMemory(): NonNullable<Status['inMemory']>;
    pinned(): NonNullable<Status['pinned']>;
    /** Of this user, or of everybody. */
    running(uid?: number): NonNullable<Status['running']>;
    /** Whether images are what they were. */
    integrity(): Promise<Status['integrity']>;
    counts(): Promise<Status['counts']>;
    fallbacks(): Status['fallbacks'];
    /** For root: they name slots and changes of everybody. */
    notices(): Promise<Status['notices']>;
  };
  /** Who owns something; undefined when there is no such thing (the room says so then). */
  owners: {
    slot(name: string): Promise<number | undefined>;
    persona(reference: string): Promise<number | undefined>;
    base(reference: string): Promise<number | undefined>;
    fast(name: string): Promise<number | undefined>;
    enclave(name: string): Promise<number | undefined>;
  };
}
