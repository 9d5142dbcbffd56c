import { PersonaError } from '../../ipc/errors.ts';
import type { Input, PersonaPage } from '../../ipc/methods/shapes.ts';
import type { Request, Rooms } from '../api/rooms.ts';
import { planBaseImport } from '../personas/base-import.ts';
import { planBaseRemoval } from '../personas/base-rm.ts';
import type { BaseSource } from '../personas/base-source.ts';
import { importedBase, listBases, ownerOfBase, showBase } from '../personas/bases.ts';
import type { Given } from '../personas/persona-create.ts';
import type { KeptComparisons } from '../personas/persona-diff.ts';
import {
  diffPersonas,
  exportPersona,
  importedPersona,
  listKeys,
  listPersonas,
  ownerOfPersona,
  planCreate,
  planImport,
  planRemove,
  planRevoke,
  planTrust,
  planVerify,
  showPersona,
} from '../personas/personas.ts';
import type { PersonasRoom } from '../personas/room.ts';
import { listPage } from './list-pages.ts';

/** The methods of one noun. */
type Of<N extends string> = Pick<Rooms, Extract<keyof Rooms, `${N}.${string}`>>;

/** Inputs that a change takes from the request, each only when it was named. */
function given(request: Request, input: Input | undefined): Given | undefined {
  return input === undefined ? undefined : request.input(input);
}

function sourceOf(
  request: Request,
  source: Input | { kind: 'host' },
  partition: number | undefined,
): BaseSource {
  if (source.kind === 'host') {
    if (request.level !== 'root')
      throw new PersonaError('permission-denied', {
        reason: 'only root imports the running system',
      });
    return { kind: 'host' };
  }
  const { path, uploaded } = request.input(source);
  const part = partition === undefined ? {} : { partition };
  return uploaded ? { kind: 'upload', path, ...part } : { kind: 'path', path, ...part };
}

/** Who may put no persona into a slot is told that it is there, not what its programs are told. */
function shownTo({ level }: Request, page: PersonaPage): PersonaPage {
  if (level !== 'any') return page;
  const { environment: _, ...rest } = page;
  return rest;
}

function baseMethods(room: PersonasRoom): Of<'base'> {
  return {
    'base.import': async ({ name, source, partition }, request) => ({
      plan: await planBaseImport(
        room,
        { name, source: sourceOf(request, source, partition) },
        request.caller.uid,
      ),
      answer: (made) => importedBase(room, made, request.caller.uid),
    }),
    'base.list': async ({ after }, { caller }) => {
      const { rows, ...rest } = listPage(await listBases(room, caller.uid), after);
      return { bases: rows, ...rest };
    },
    'base.show': async ({ base }, { caller }) => ({
      base: await showBase(room, base, caller.uid),
    }),
    'base.rm': async (params, { caller }) => ({
      plan: await planBaseRemoval(room, params, caller.uid),
    }),
  };
}

function keyMethods(room: PersonasRoom): Of<'key'> {
  return {
    'key.list': () => ({ keys: listKeys(room) }),
    'key.trust': (params, { caller }) => ({ plan: planTrust(room, params, caller.uid) }),
    'key.revoke': (params, { caller }) => ({ plan: planRevoke(room, params, caller.uid) }),
  };
}

/** The methods of bases, personas and keys. */
export function personaMethods(room: PersonasRoom): Of<'base'> & Of<'key'> & Of<'persona'> {
  const compared: KeptComparisons = new Map();
  return {
    ...baseMethods(room),
    ...keyMethods(room),
    'persona.create': async (params, request) => {
      const { tree, diff, seed, config, applications, ...rest } = params;
      const inputs = { tree, diff, seed, config, applications };
      const taken = Object.fromEntries(
        Object.entries(inputs).map(([name, input]) => [name, given(request, input)]),
      );
      return {
        plan: await planCreate(room, { ...rest, ...taken }, request.caller.uid),
        // The steps it shares with an import tell more than the method promises.
        answer: async (made) => {
          const { persona } = await importedPersona(room, made, request.caller.uid);
          return { persona };
        },
      };
    },
    'persona.import': ({ source, ...rest }, request) => ({
      plan: planImport(room, { ...rest, source: request.input(source) }, request.caller.uid),
      answer: (made) => importedPersona(room, made, request.caller.uid),
    }),
    'persona.list': async ({ after }, request) => {
      const pages = await listPersonas(room, request.caller.uid);
      const { rows, ...rest } = listPage(
        pages.map((page) => shownTo(request, page)),
        after,
      );
      return { personas: rows, ...rest };
    },
    'persona.show': async ({ persona }, request) => ({
      persona: shownTo(request, await showPersona(room, persona, request.caller.uid)),
    }),
    'persona.verify': ({ persona }, { caller }) => ({
      plan: planVerify(room, persona, caller.uid),
    }),
    'persona.export': async (params) => exportPersona(room, params),
    'persona.rm': async ({ persona }, { caller }) => ({
      plan: await planRemove(room, persona, caller.uid),
    }),
    'persona.diff': (params) => diffPersonas(room, compared, params),
  };
}

/** Who owns bases and personas. */
export function personaOwners(room: PersonasRoom): Pick<Rooms['owners'], 'base' | 'persona'> {
  return {
    persona: async (reference) => ownerOfPersona(room, reference),
    base: (reference) => ownerOfBase(room, reference),
  };
}
