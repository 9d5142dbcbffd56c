import type { Row, Store } from '../store/store.ts';
import type { Needs } from './needs.ts';

/** Applications that are remembered of one user, and of all; those that have not run for longest are forgotten. */
export const needsLimits = { perOwnerMax: 256, allMax: 4_096 };

const isFigures = (value: unknown): value is Needs['last'][number] =>
  typeof value === 'object' && value !== null && Object.values(value).every(Number.isFinite);

function needsOf({ runs, date, detail }: Row): Needs {
  const last: unknown = JSON.parse(String(detail));
  return {
    runs: Number(runs),
    dateMs: Number(date),
    last: Array.isArray(last) ? last.filter(isFigures) : [],
  };
}

/** What was measured of the applications of an owner, by application, the newest last. */
export async function readNeeds(store: Store, owner: number): Promise<Map<string, Needs>> {
  const rows = await store.all(
    'SELECT * FROM application_needs WHERE owner = ? ORDER BY date',
    owner,
  );
  return new Map(rows.map((row) => [String(row.app), needsOf(row)]));
}

/** Writes down what was measured; a power cut may lose the newest. */
export async function writeNeeds(
  store: Store,
  owner: number,
  app: string,
  { runs, dateMs, last }: Needs,
  { perOwnerMax, allMax } = needsLimits,
): Promise<void> {
  await store.commitSoon((tx) => {
    tx.run(
      'INSERT OR REPLACE INTO application_needs (owner, app, runs, date, detail) VALUES (?, ?, ?, ?, ?)',
      owner,
      app,
      runs,
      dateMs,
      JSON.stringify(last),
    );
    tx.run(
      `DELETE FROM application_needs WHERE owner = ? AND app NOT IN
        (SELECT app FROM application_needs WHERE owner = ? ORDER BY date DESC, app LIMIT ?)`,
      owner,
      owner,
      perOwnerMax,
    );
    tx.run(
      `DELETE FROM application_needs WHERE (owner, app) NOT IN
        (SELECT owner, app FROM application_needs ORDER BY date DESC, owner, app LIMIT ?)`,
      allMax,
    );
  });
}
