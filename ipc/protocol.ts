import type { ErrorDetail } from './errors.ts';

/** A request: a frame whose type is the name of the method. */
export interface Request {
  /** Chosen by the client, unique among its open requests; comes back with every answer and event. */
  id: number;
  params: unknown;
}

/** Frames end in a form feed, which JSON never contains raw. */
export const delimiter = '\f';

/** First word of a raw connection: `TICKET t\n`. A frame starts with `{`, so the two never mix. */
export const ticketWord = 'TICKET ';

/** What one peer may use. Every wait and every buffer of a connection is named here. */
export interface WireLimits {
  /** A request frame. Large data travels by ticket. */
  frameBytesMax: number;
  /** An answer or event frame. */
  replyBytesMax: number;
  /** Answers that a peer has not read yet: more cuts it off. */
  pendingBytesMax: number;
  /** From the first byte of a frame to its last, and from the connection to its first byte. */
  frameTimeoutMs: number;
  /** Without a request, an open one, or anything followed. */
  idleTimeoutMs: number;
  /** Pending answers of which the peer reads nothing. */
  stallTimeoutMs: number;
  /** A `sync` call that names no deadline of its own. */
  callTimeoutMs: number;
  /** How often the timers above are looked at. */
  sweepMs: number;
  /** Connections of all users together. */
  connectionsMax: number;
  /** Of these, kept for root. */
  connectionsForRoot: number;
  /** Connections of one user (root: times `rootFactor`). */
  connectionsPerUid: number;
  /** Requests of one user that are not answered yet (root: times `rootFactor`). */
  requestsPerUid: number;
  rootFactor: number;
  /** Changes followed on one connection. */
  followsMax: number;
  /** Refusals for too many requests after which a connection is cut off. */
  refusalsMax: number;
}

/** The limits in service. */
export const wireLimits: WireLimits = {
  frameBytesMax: 64 * 1024,
  replyBytesMax: 2 * 1024 * 1024,
  pendingBytesMax: 4 * 1024 * 1024,
  frameTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  stallTimeoutMs: 20_000,
  callTimeoutMs: 10_000,
  sweepMs: 1000,
  connectionsMax: 512,
  connectionsForRoot: 64,
  connectionsPerUid: 64,
  requestsPerUid: 8,
  rootFactor: 4,
  followsMax: 64,
  refusalsMax: 256,
};

/** A failure as results and events carry it, with the detail for programs. */
export interface Failure {
  code: string;
  message: string;
  hint?: string;
  detail?: ErrorDetail;
}
