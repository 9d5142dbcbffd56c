import type { CallContext } from '../../ipc/calls.ts';
import { PersonaError } from '../../ipc/errors.ts';
import type { MethodName } from '../../ipc/methods/index.ts';
import { methods } from '../../ipc/methods/index.ts';
import { Secret } from '../config/secret.ts';
import { CredentialUnusable, readCredential } from '../kernel/credentials.ts';
import { removeFile } from '../kernel/files.ts';
import type { LockedBytes } from '../kernel/locked-memory.ts';
import { authorise, levelOf, type OwnerOf } from './authorise.ts';
import { runChange } from './changes.ts';
import type { Outlet } from './outlet.ts';
import { changeOwner, type OwnParts, ownMethods } from './own.ts';
import type { Planned, Request } from './rooms.ts';

/** What dispatch needs. */
export interface DispatchParts extends OwnParts {
  /** Group of the control socket; undefined when the machine has none. */
  groupGid: number | undefined;
  /** Where the service manager keeps credentials for this service, if it has any. */
  credentials?: string | undefined;
}

type AnyParams = Record<string, unknown>;
type AnySync = (params: AnyParams, request: Request, context: CallContext) => unknown;
type AnyChange = (params: AnyParams, request: Request) => Promise<Planned<never>> | Planned<never>;

function credentialOf(folder: string | undefined, name: string): LockedBytes {
  try {
    return readCredential(folder, name);
  } catch (error) {
    if (error instanceof CredentialUnusable)
      throw new PersonaError('credential-unusable', { name, reason: error.message });
    throw error;
  }
}

/** One function for all methods: authorise, hand to the room, run the change. */
export function createDispatch(parts: DispatchParts) {
  const { rooms, engine, tickets } = parts;
  const own = ownMethods(parts);
  const ownerOf: OwnerOf = async (of, key) =>
    of === 'change' ? changeOwner(engine, Number(key)) : rooms.owners[of](String(key));

  function requestOf(
    context: CallContext,
    params: AnyParams,
    level: Request['level'],
    claimed: string[],
    outlets: Outlet[],
    secrets: Secret<LockedBytes>[],
  ): Request {
    const { caller } = context;
    const dryRun = params.dryRun === true;
    return {
      caller,
      level,
      dryRun,
      get gone() {
        return context.gone;
      },
      input(input) {
        if (input.kind === 'path') return { path: input.path, uploaded: false, bytes: undefined };
        const take = dryRun ? tickets.peek : tickets.claim;
        const { path, bytes } = take.call(tickets, input.ticket, caller.uid);
        if (!dryRun) claimed.push(path);
        return { path, uploaded: true, bytes };
      },
      secret(ticket) {
        const secret = tickets.secret(ticket, caller.uid);
        secrets.push(secret);
        return secret;
      },
      credential(name) {
        const secret = new Secret(credentialOf(parts.credentials, name));
        secrets.push(secret);
        return secret;
      },
      output(ticket) {
        const outlet = tickets.output(ticket, caller.uid);
        outlets.push(outlet);
        return outlet;
      },
    };
  }

  /** `params` are checked by the server; the answer will be. */
  return async (name: string, given: unknown, context: CallContext): Promise<unknown> => {
    const method = name as MethodName;
    const params = given as AnyParams;
    const level = levelOf(context.caller, parts.groupGid);
    await authorise(method, params, context.caller, level, ownerOf);
    const claimed: string[] = [];
    const outlets: Outlet[] = [];
    const secrets: Secret<LockedBytes>[] = [];
    const request = requestOf(context, params, level, claimed, outlets, secrets);
    const table = (Object.hasOwn(own, method) ? own : rooms) as unknown as Record<string, unknown>;
    const room = Object.hasOwn(table, method) ? table[method] : undefined;
    if (room === undefined) throw new PersonaError('not-supported', { what: method });
    if (methods[method].kind === 'sync')
      return await (room as AnySync).call(table, params, request, context);
    let begun = false;
    try {
      const planned = await (room as AnyChange).call(table, params, request);
      return await runChange(engine, planned, params, context, () => {
        begun = true;
      });
    } finally {
      // No change has them, so nobody else will remove them.
      if (!begun) for (const outlet of outlets) outlet.close();
      if (!begun) for (const secret of secrets) secret.reveal().wipe();
      if (!begun) for (const path of claimed) await removeFile(path);
    }
  };
}
