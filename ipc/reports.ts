/** Reports of one user that reach the log in one minute: enough to see what happens, too few to fill it. */
export const reportsPerMinute = 20;

const minuteMs = 60_000;

/** Tells the log about a peer or a call of `uid`. */
export type Report = (uid: number, what: string, facts: Record<string, unknown>) => void;

/**
 * Passes on at most `perMinute` reports of each user per minute; the first one of the next minute says
 * how many were left out. A peer that misbehaves on purpose cannot fill the log.
 */
export function limitReports(
  report: (what: string, facts: Record<string, unknown>) => void,
  now: () => number,
  perMinute = reportsPerMinute,
): Report {
  const counts = new Map<number, number>();
  let minute = Number.NEGATIVE_INFINITY;
  return (uid, what, facts) => {
    const at = Math.floor(now() / minuteMs);
    if (at !== minute) {
      minute = at;
      for (const [other, count] of counts)
        if (count > perMinute)
          report('reports were left out', { uid: other, count: count - perMinute });
      counts.clear();
    }
    const count = (counts.get(uid) ?? 0) + 1;
    counts.set(uid, count);
    if (count <= perMinute) report(what, { uid, ...facts });
  };
}
