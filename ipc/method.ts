import * as v from 'valibot';

/**
 * Who may call a method.
 * - `any`: every local user, on both sockets; the room shows and touches only what the caller owns.
 * - `group`: root and members of the group of the control socket, on that socket only.
 * - `root`: uid 0 only, on the control socket only.
 */
export type Access = 'any' | 'group' | 'root';

/** `sync`: answered when done. `change`: a durable change; answered with its id, plan or result. */
export type Kind = 'sync' | 'change';

/** The schema of a result; `undefined` is never a result. */
type Schema = v.GenericSchema;

/** One operation of the contract. */
export interface Method<P extends Schema = Schema, R extends Schema = Schema> {
  /** One sentence for help and reference. */
  summary: string;
  access: Access;
  kind: Kind;
  params: P;
  result: R;
  /** Deadline of a `sync` call in milliseconds; `callTimeoutMs` of the transport when absent. */
  timeoutMs?: number;
}

/** What a change would do: the very list of tasks that would run. */
export const plan = v.strictObject({
  kind: v.string(),
  summary: v.string(),
  holds: v.array(v.string()),
  tasks: v.array(
    v.strictObject({
      kind: v.string(),
      summary: v.string(),
      params: v.unknown(),
      undo: v.picklist(['undone', 'nothing', 'forward']),
    }),
  ),
  needs: v.strictObject({ bytes: v.number() }),
});

/** Options that every method of kind `change` takes. */
const changeOptions = {
  /** Answer with the plan and do nothing. */
  dryRun: v.optional(v.boolean()),
  /** Answer when the change has ended, with its result. Without it: at once, with the change id. */
  wait: v.optional(v.boolean()),
};

/** Declares a method that is answered when it is done. */
export function sync<P extends v.ObjectEntries, R extends v.ObjectEntries>(
  access: Access,
  summary: string,
  params: P,
  result: R,
  options: { timeoutMs?: number } = {},
) {
  return {
    summary,
    access,
    kind: 'sync' as const,
    params: v.strictObject(params),
    result: v.strictObject(result),
    ...options,
  };
}

/** Declares a durable change. `result` is what the change answers when it is done. */
export function change<P extends v.ObjectEntries, R extends v.ObjectEntries>(
  access: Access,
  summary: string,
  params: P,
  result: R,
) {
  return {
    summary,
    access,
    kind: 'change' as const,
    params: v.strictObject({ ...params, ...changeOptions }),
    result: v.strictObject({
      /** Absent only for a dry run. */
      changeId: v.optional(v.number()),
      plan: v.optional(plan),
      /** Present when `wait` was asked for. */
      result: v.optional(v.strictObject(result)),
    }),
  };
}
