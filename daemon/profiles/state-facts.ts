import { PersonaError } from '../../ipc/errors.ts';
import type { Plan } from '../changes/change.ts';
import { type AnyTask, defineTask, type Json } from '../changes/task.ts';
import { applicationIdPattern, type FactName } from './application.ts';
import { BadFact, checkFact, isStatable, statableNames, writtenName } from './fact-values.ts';
import type { ProfilesRoom } from './room.ts';
import { deleteStated, EVERYBODY, putStated } from './stated-rows.ts';

/** Facts that one user, and all users together, may state: they are kept in memory. Places are kept for root. */
const PER_OWNER_MAX = 512;
const ALL_MAX = 16_384;
const FOR_ROOT_MIN = 4_096;
/** What the values of one user may take, as text. */
const OWNER_CHARS_MAX = 256 * 1024;
/** Rows of one change. */
const ROW_BYTES = 64 * 1024;

/** What somebody says of an application. */
export interface Statement {
  app: string;
  /** Root says it for everybody. */
  everybody: boolean;
  set: Readonly<Record<string, unknown>>;
  /** Facts whose statements are taken back. */
  unset: readonly string[];
}

interface StateParams {
  owner: number;
  app: string;
  set: { readonly [fact: string]: Json };
  unset: FactName[];
}

function factNamed(name: string): FactName {
  if (isStatable(name)) return name;
  const reason = `there are: ${statableNames.map(writtenName).join(', ')}`;
  throw new PersonaError('bad-value', { name: JSON.stringify(name), reason });
}

function checked(set: Statement['set']): StateParams['set'] {
  const values: Record<string, Json> = {};
  for (const [name, value] of Object.entries(set)) {
    const fact = factNamed(name);
    try {
      values[fact] = checkFact(fact, value) as Json;
    } catch (error) {
      if (!(error instanceof BadFact)) throw error;
      throw new PersonaError('bad-value', {
        name: writtenName(fact),
        reason: `it ${error.message}`,
      });
    }
  }
  return values;
}

const over = (what: string, limit: number) => new PersonaError('limit-exceeded', { what, limit });

/** Throws `limit-exceeded` when the owner, or all together, would have stated too much. */
async function admit({ store, accountOf }: ProfilesRoom, params: StateParams): Promise<void> {
  const { owner, app, set } = params;
  const added = Object.entries(set);
  // What is stated anew takes the place of what was there: counted are the others.
  const rows = await store.all(
    `SELECT owner, count(*) AS facts, sum(length(value)) AS chars FROM application_facts
     WHERE NOT (owner = ? AND app = ?) GROUP BY owner`,
    owner,
    app,
  );
  const same = await store.all(
    'SELECT fact, length(value) AS chars FROM application_facts WHERE owner = ? AND app = ?',
    owner,
    app,
  );
  const kept = same.filter(({ fact }) => !Object.hasOwn(set, String(fact)));
  const facts = kept.length + added.length;
  const chars =
    kept.reduce((all, row) => all + Number(row.chars), 0) +
    added.reduce((all, [, value]) => all + JSON.stringify(value).length, 0);
  const total = rows.reduce((all, row) => all + Number(row.facts), facts);
  const isRoot = owner === EVERYBODY || owner === 0;
  if (total > (isRoot ? ALL_MAX : ALL_MAX - FOR_ROOT_MIN))
    throw over('the number of facts that were stated of applications', ALL_MAX);
  if (isRoot) return;
  const mine = rows.filter((row) => accountOf(Number(row.owner)) === accountOf(owner));
  if (mine.reduce((all, row) => all + Number(row.facts), facts) > PER_OWNER_MAX)
    throw over('the number of facts that you have stated of applications', PER_OWNER_MAX);
  if (mine.reduce((all, row) => all + Number(row.chars), chars) > OWNER_CHARS_MAX)
    throw over('what you have stated of applications, in characters', OWNER_CHARS_MAX);
}

/** States facts of an application, and takes statements back. Throws bad-value, limit-exceeded. */
export async function planState(
  room: ProfilesRoom,
  { app, everybody, set, unset }: Statement,
  { uid }: { uid: number },
): Promise<Plan> {
  if (!applicationIdPattern.test(app))
    throw new PersonaError('bad-value', {
      name: JSON.stringify(app),
      reason: 'it is no id of an application',
    });
  const owner = everybody ? EVERYBODY : uid;
  const params: StateParams = { owner, app, set: checked(set), unset: unset.map(factNamed) };
  if (Object.keys(params.set).length + params.unset.length === 0)
    throw new PersonaError('bad-value', { name: 'the facts', reason: 'none is named' });
  await admit(room, params);
  return {
    kind: 'app.set',
    summary: `say what is known of application ${app}${everybody ? ', for everybody' : ''}`,
    ownerUid: uid,
    // What is left is given out one at a time.
    holds: ['applications:all'],
    tasks: [
      { kind: 'app.state', params: params as unknown as Json },
      { kind: 'app.take-up', params: { owner } },
    ],
    needs: { bytes: ROW_BYTES },
  };
}

/** The rows. */
function stateTask(room: ProfilesRoom): AnyTask {
  return defineTask<StateParams>({
    kind: 'app.state',
    summary: ({ app, set, unset }) => {
      const words = [...Object.keys(set), ...unset.map((fact) => `no ${fact}`)];
      return `write down of ${app}: ${words.join(', ')}`;
    },
    pointOfNoReturn: true,
    rowsOnly: true,
    undo: 'nothing-to-undo',
    async do(_context, params) {
      await admit(room, params);
      const { owner, app, set, unset } = params;
      const dateMs = room.now();
      return {
        record(tx) {
          for (const fact of unset) deleteStated(tx, { owner, app, fact });
          for (const [name, value] of Object.entries(set))
            putStated(tx, { owner, app, fact: factNamed(name), value, dateMs });
        },
      };
    },
  });
}

/** The room reads the rows again when they are next needed. */
function takeUpTask(room: ProfilesRoom): AnyTask {
  return defineTask<{ owner: number }>({
    kind: 'app.take-up',
    summary: () => 'go by it from now on',
    forward: true,
    undo: 'nothing-to-undo',
    async do(_context, { owner }) {
      room.forget(owner);
    },
  });
}

/** The task kinds of this room. */
export const applicationTasks = (room: ProfilesRoom): AnyTask[] => [
  stateTask(room),
  takeUpTask(room),
];
