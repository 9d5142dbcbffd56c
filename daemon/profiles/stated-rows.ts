import type { Row, Store, Tx } from '../store/store.ts';
import type { FactName } from './application.ts';
import { BadFact, checkFact, isStatable } from './fact-values.ts';
import type { Fragment, Values } from './fragment.ts';

/** The owner of what root has said for everybody. */
export const EVERYBODY = -1;

/** One fact that somebody has stated. */
export interface Stated {
  owner: number;
  app: string;
  fact: FactName;
  value: unknown;
  dateMs: number;
}

function statedOf({ owner, app, fact, value, date }: Row): Stated[] {
  const name = String(fact);
  if (!isStatable(name)) return [];
  try {
    const checked = checkFact(name, JSON.parse(String(value)));
    return [
      { owner: Number(owner), app: String(app), fact: name, value: checked, dateMs: Number(date) },
    ];
  } catch (error) {
    // A later version may have allowed more: what this one does not understand says nothing.
    if (error instanceof BadFact) return [];
    throw error;
  }
}

/** What one owner has stated. */
export async function readStated(store: Store, owner: number): Promise<Stated[]> {
  const rows = await store.all(
    'SELECT * FROM application_facts WHERE owner = ? ORDER BY app, fact',
    owner,
  );
  return rows.flatMap(statedOf);
}

/** States a fact, in the place of what was stated before. */
export function putStated(tx: Tx, { owner, app, fact, value, dateMs }: Stated): void {
  tx.run(
    'INSERT OR REPLACE INTO application_facts (owner, app, fact, value, date) VALUES (?, ?, ?, ?, ?)',
    owner,
    app,
    fact,
    JSON.stringify(value),
    dateMs,
  );
}

/** Takes a statement back. */
export function deleteStated(tx: Tx, { owner, app, fact }: Omit<Stated, 'value' | 'dateMs'>): void {
  tx.run(
    'DELETE FROM application_facts WHERE owner = ? AND app = ? AND fact = ?',
    owner,
    app,
    fact,
  );
}

/** Statements as what they say of each application. */
export function fragmentsOf(stated: readonly Stated[]): Fragment[] {
  return stated.map(({ owner, app, fact, value, dateMs }) => ({
    of: { id: app },
    source: owner === EVERYBODY ? 'admin' : 'user',
    from: owner === EVERYBODY ? 'personactl app set --all' : 'personactl app set',
    confidence: 1,
    dateMs,
    values: { [fact]: value } as Values,
  }));
}
