import * as v from 'valibot';
import { PersonaError } from './errors.ts';
import type { Method } from './method.ts';
import { changeEvent } from './methods/change.ts';

/** The first thing that is wrong, with its place: "slot: not a name". */
function firstIssue(issues: readonly v.BaseIssue<unknown>[]): string {
  const issue = issues[0];
  if (issue === undefined) return 'unknown';
  const place = v.getDotPath(issue);
  return place === null ? issue.message : `${place}: ${issue.message}`;
}

/** `params` as the schema of the method gives them back. Throws `bad-request`. */
export function checkParams(method: Method, params: unknown): unknown {
  const parsed = v.safeParse(method.params, params);
  if (parsed.success) return parsed.output;
  throw new PersonaError('bad-request', { reason: firstIssue(parsed.issues) });
}

/** `result` as the contract promises it. A room that breaks the promise is a bug: `internal`. */
export function checkResult(name: string, method: Method, result: unknown): unknown {
  const parsed = v.safeParse(method.result, result);
  if (parsed.success) return parsed.output;
  const reason = `the answer of ${name} breaks the contract: ${firstIssue(parsed.issues)}`;
  throw new PersonaError('internal', { reason });
}

/** An event of a change as the contract promises it. Throws `internal`. */
export function checkEvent(event: unknown): unknown {
  const parsed = v.safeParse(changeEvent, event);
  if (parsed.success) return parsed.output;
  const reason = `an event breaks the contract: ${firstIssue(parsed.issues)}`;
  throw new PersonaError('internal', { reason });
}
