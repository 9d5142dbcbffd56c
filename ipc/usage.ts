import type { WireLimits } from './protocol.ts';

/** What one user holds now. */
interface Held {
  connections: number;
  requests: number;
}

/** Counts connections and open requests by owner, so that one user cannot take the places of another. */
export interface Usage {
  /** Takes a place for a connection; false when there is none left for this uid. */
  connect(uid: number): boolean;
  disconnect(uid: number): void;
  /** Takes a place for a request; false when the uid has its share already. */
  begin(uid: number): boolean;
  end(uid: number): void;
  /** How many requests one uid may have open. */
  requestsMax(uid: number): number;
  /** Connections of all users. */
  total(): number;
}

/** `ownerOf` maps an id of a subordinate range to the user who owns the range. */
export function createUsage(limits: WireLimits, ownerOf: (uid: number) => number): Usage {
  const held = new Map<number, Held>();
  let total = 0;
  const of = (uid: number): Held => {
    const owner = ownerOf(uid);
    const entry = held.get(owner) ?? { connections: 0, requests: 0 };
    held.set(owner, entry);
    return entry;
  };
  const forget = (uid: number, entry: Held) => {
    if (entry.connections === 0 && entry.requests === 0) held.delete(ownerOf(uid));
  };
  const factor = (uid: number) => (uid === 0 ? limits.rootFactor : 1);
  return {
    connect(uid) {
      const entry = of(uid);
      const places = limits.connectionsMax - (uid === 0 ? 0 : limits.connectionsForRoot);
      if (total >= places || entry.connections >= limits.connectionsPerUid * factor(uid)) {
        forget(uid, entry);
        return false;
      }
      entry.connections += 1;
      total += 1;
      return true;
    },
    disconnect(uid) {
      const entry = of(uid);
      entry.connections -= 1;
      total -= 1;
      forget(uid, entry);
    },
    begin(uid) {
      const entry = of(uid);
      if (entry.requests >= limits.requestsPerUid * factor(uid)) return false;
      entry.requests += 1;
      return true;
    },
    end(uid) {
      const entry = of(uid);
      entry.requests -= 1;
      forget(uid, entry);
    },
    requestsMax: (uid) => limits.requestsPerUid * factor(uid),
    total: () => total,
  };
}
