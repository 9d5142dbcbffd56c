import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { PersonaError } from '../../ipc/errors.ts';
import type { Engine } from '../changes/engine.ts';
import { Secret } from '../config/secret.ts';
import { removeFile } from '../kernel/files.ts';
import { LockedBytes, lockedBytesMax } from '../kernel/locked-memory.ts';
import { createStaged, type StagedFile } from '../kernel/staged-file.ts';
import { Outlet } from './outlet.ts';

/** Bounds of bulk data. */
export interface BulkLimits {
  /** From the ticket to the connection that presents it. */
  ticketMs: number;
  /** From the end of an upload to the change that takes it. */
  unclaimedMs: number;
  /** Without a byte in either direction. */
  stallMs: number;
  /** One upload. */
  uploadBytesMax: number;
  /** All uploads of one user that no change has taken yet. */
  stagedPerUidMax: number;
  /** Tickets and uploads of one user at a time. */
  perUidMax: number;
  /** Free space is looked at again after so many bytes. */
  spaceCheckBytes: number;
}

/** The bounds in service. */
export const bulkLimits: BulkLimits = {
  ticketMs: 60_000,
  unclaimedMs: 600_000,
  stallMs: 60_000,
  uploadBytesMax: 256 * 1024 ** 3,
  stagedPerUidMax: 256 * 1024 ** 3,
  perUidMax: 8,
  spaceCheckBytes: 64 * 1024 ** 2,
};

const uploadPrefix = 'upload-';

/** Removes uploads of an earlier process, except those that an open change still speaks of. */
export async function removeUnclaimed(staging: string, engine: Engine): Promise<void> {
  const spoken = JSON.stringify(engine.open());
  for (const name of await readdir(staging))
    if (name.startsWith(uploadPrefix) && !spoken.includes(name))
      await removeFile(join(staging, name));
}

/** Data for a caller to fetch. */
export interface Download {
  /** Undefined: as many as come until the end of the stream. */
  bytes: number | undefined;
  /** Called once, when the caller connects. */
  open(): Promise<Readable> | Readable;
  /** Called when nobody will fetch it any more. */
  abandon?(): void;
  /** A change will write it, and has not begun to: whoever fetches waits for that, and the change has deadlines of its own. */
  awaited?(): boolean;
}

interface Ticket {
  uid: number;
  state: 'issued' | 'running' | 'uploaded';
  timer: NodeJS.Timeout;
  /** Bytes that the caller said will come. */
  announced: number | undefined;
  download: Download | undefined;
  file: StagedFile | undefined;
  /** Takes a secret: that of a complete upload, once it is. */
  secret?: true | Secret<LockedBytes>;
  /** What a change writes for the one who fetches; undefined once a change has it, or without one. */
  outlet?: Outlet | undefined;
}

/** What tickets need from outside. */
export interface TicketParts {
  /** Folder of the uploads. */
  staging: string;
  limits: BulkLimits;
  /** Throws `no-space` when `bytes` more do not fit. */
  space(bytes: number): Promise<void> | void;
  /** The owner of a subordinate uid. */
  ownerOf(uid: number): number;
  /** Milliseconds since 1970. */
  now(): number;
}

/** One-time tickets, each bound to the uid that asked for it. */
export class Tickets {
  readonly #tickets = new Map<string, Ticket>();
  readonly #parts: TicketParts;

  constructor(parts: TicketParts) {
    this.#parts = parts;
  }

  /** A ticket for an upload. `bytes` is exact when given. */
  async forUpload(
    uid: number,
    bytes: number | undefined,
  ): Promise<{ ticket: string; bytesMax: number; expiresMs: number }> {
    const { uploadBytesMax, ticketMs } = this.#parts.limits;
    if (bytes !== undefined && bytes > uploadBytesMax)
      throw new PersonaError('limit-exceeded', { what: 'the upload', limit: uploadBytesMax });
    await this.#parts.space(bytes ?? 0);
    const ticket = this.#issue(uid, { announced: bytes, download: undefined });
    const expiresMs = this.#parts.now() + ticketMs;
    return { ticket, bytesMax: bytes ?? uploadBytesMax, expiresMs };
  }

  /** A ticket to fetch `download`. */
  forDownload(uid: number, download: Download): string {
    return this.#issue(uid, { announced: undefined, download });
  }

  /** A ticket to fetch what a change is going to write. */
  forOutput(uid: number): { ticket: string; bytesMax: number; expiresMs: number } {
    const outlet = new Outlet();
    const download = {
      bytes: undefined,
      open: () => outlet.source,
      abandon: () => outlet.close(),
      awaited: () => issued?.outlet === undefined && !outlet.written,
    };
    const ticket = this.#issue(uid, { announced: undefined, download });
    const issued = this.#tickets.get(ticket);
    if (issued) issued.outlet = outlet;
    return { ticket, bytesMax: 0, expiresMs: this.#parts.now() + this.#parts.limits.ticketMs };
  }

  /** What a change writes into, once: whoever presents the ticket, before or after, gets it. */
  output(name: string, uid: number): Outlet {
    const ticket = this.#tickets.get(name);
    if (ticket?.uid !== uid || ticket.outlet === undefined)
      throw new PersonaError('ticket-not-found');
    const { outlet } = ticket;
    ticket.outlet = undefined;
    return outlet;
  }

  /** A ticket for a secret: what comes goes into locked memory. */
  forSecret(uid: number): { ticket: string; bytesMax: number; expiresMs: number } {
    const ticket = this.#issue(uid, { announced: undefined, download: undefined, secret: true });
    const expiresMs = this.#parts.now() + this.#parts.limits.ticketMs;
    return { ticket, bytesMax: lockedBytesMax, expiresMs };
  }

  /** Keeps the secret that came for a running ticket, for the change that takes it. */
  keepSecret(name: string, bytes: Uint8Array): void {
    const ticket = this.#tickets.get(name);
    if (ticket?.secret === undefined) throw new PersonaError('ticket-not-found');
    const locked = new LockedBytes(bytes.length);
    locked.bytes().set(bytes);
    ticket.secret = new Secret(locked);
    ticket.state = 'uploaded';
    ticket.timer = this.#expire(name, this.#parts.limits.ticketMs);
  }

  /** The secret of a ticket, which now belongs to the caller of this function. */
  secret(name: string, uid: number): Secret<LockedBytes> {
    const ticket = this.#find(name, uid, 'uploaded');
    const { secret } = ticket;
    if (secret === undefined || secret === true) throw new PersonaError('ticket-not-found');
    clearTimeout(ticket.timer);
    this.#tickets.delete(name);
    return secret;
  }

  /** Bytes of a user that no change has taken yet. */
  staged(uid: number): number {
    return this.#of(uid).reduce((sum, { file }) => sum + (file?.bytes() ?? 0), 0);
  }

  #of(uid: number): Ticket[] {
    const owner = this.#parts.ownerOf(uid);
    return [...this.#tickets.values()].filter((one) => this.#parts.ownerOf(one.uid) === owner);
  }

  #issue(uid: number, kind: Pick<Ticket, 'announced' | 'download' | 'secret'>): string {
    const limit = this.#parts.limits.perUidMax;
    if (this.#of(uid).length >= limit) throw new PersonaError('too-many-requests', { limit });
    const name = randomBytes(16).toString('hex');
    const timer = this.#expire(name, this.#parts.limits.ticketMs);
    this.#tickets.set(name, { uid, state: 'issued', timer, file: undefined, ...kind });
    return name;
  }

  #expire(name: string, ms: number): NodeJS.Timeout {
    return setTimeout(() => void this.drop(name), ms).unref();
  }

  #find(name: string, uid: number, state: Ticket['state']): Ticket {
    const ticket = this.#tickets.get(name);
    // One answer for unknown, foreign, used and expired: nothing to learn by trying.
    if (ticket?.uid !== uid || ticket.state !== state) throw new PersonaError('ticket-not-found');
    return ticket;
  }

  /** Begins the transfer of a ticket; it cannot begin again. */
  begin(name: string, uid: number): Pick<Ticket, 'announced' | 'download' | 'secret'> {
    const ticket = this.#find(name, uid, 'issued');
    clearTimeout(ticket.timer);
    ticket.state = 'running';
    return ticket;
  }

  /** The file for a running upload. */
  async stage(name: string): Promise<StagedFile> {
    const file = await createStaged(
      join(this.#parts.staging, `${uploadPrefix}${randomBytes(8).toString('hex')}`),
    );
    const ticket = this.#tickets.get(name);
    if (ticket) ticket.file = file;
    return file;
  }

  /** The upload is complete: it waits for the change that takes it. */
  uploaded(name: string): void {
    const ticket = this.#tickets.get(name);
    if (ticket === undefined) return;
    ticket.state = 'uploaded';
    ticket.timer = this.#expire(name, this.#parts.limits.unclaimedMs);
  }

  /** The file of a complete upload, which stays with the ticket. */
  peek(name: string, uid: number): { path: string; bytes: number } {
    const { file } = this.#find(name, uid, 'uploaded');
    if (file === undefined) throw new PersonaError('ticket-not-found');
    return { path: file.path, bytes: file.bytes() };
  }

  /** The file of a complete upload, which now belongs to the caller of this function. */
  claim(name: string, uid: number): { path: string; bytes: number } {
    const found = this.peek(name, uid);
    const ticket = this.#tickets.get(name);
    if (ticket) clearTimeout(ticket.timer);
    this.#tickets.delete(name);
    return found;
  }

  /** Forgets a ticket and removes what was uploaded for it. */
  async drop(name: string): Promise<void> {
    const ticket = this.#tickets.get(name);
    if (ticket === undefined) return;
    clearTimeout(ticket.timer);
    this.#tickets.delete(name);
    await ticket.download?.abandon?.();
    await ticket.file?.abandon();
    if (ticket.secret !== undefined && ticket.secret !== true) ticket.secret.reveal().wipe();
  }

  /** Forgets everything; unclaimed uploads are removed. */
  async close(): Promise<void> {
    await Promise.all([...this.#tickets.keys()].map((name) => this.drop(name)));
  }
}
