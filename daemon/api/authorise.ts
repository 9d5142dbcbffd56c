import type { Caller } from '../../ipc/connection.ts';
import { PersonaError } from '../../ipc/errors.ts';
import type { Access } from '../../ipc/method.ts';
import { type MethodName, methods } from '../../ipc/methods/index.ts';
import type { Checked } from './rooms.ts';

const rank: Record<Access, number> = { any: 0, group: 1, root: 2 };

/**
 * What a caller may do at most: by the kernel's word on uid and groups, and by the socket it came
 * through. `groupGid` is the group of the control socket, undefined when the machine has none.
 */
export function levelOf(caller: Caller, groupGid: number | undefined): Access {
  if (caller.socket !== 'control') return 'any';
  if (caller.uid === 0) return 'root';
  const member = groupGid !== undefined && [caller.gid, ...caller.groups].includes(groupGid);
  return member ? 'group' : 'any';
}

type Concern = 'slot' | 'persona' | 'base' | 'fast' | 'change' | 'enclave';

/** Whose thing a method touches: besides root only its owner may. `key` is the parameter that names it. */
type Owned = { [M in MethodName]?: { of: Concern; key: keyof Checked<M> & string } };

/** Methods that touch what belongs to somebody. */
export const owned: Owned = {
  'change.show': { of: 'change', key: 'change' },
  'change.follow': { of: 'change', key: 'change' },
  'change.abort': { of: 'change', key: 'change' },
  'change.continue': { of: 'change', key: 'change' },
  'base.rm': { of: 'base', key: 'base' },
  'persona.rm': { of: 'persona', key: 'persona' },
  'persona.export': { of: 'persona', key: 'persona' },
  'slot.rm': { of: 'slot', key: 'slot' },
  'slot.move': { of: 'slot', key: 'slot' },
  'slot.swap': { of: 'slot', key: 'slot' },
  'slot.rollback': { of: 'slot', key: 'slot' },
  'slot.history': { of: 'slot', key: 'slot' },
  'slot.exec': { of: 'slot', key: 'slot' },
  'fast.resize': { of: 'fast', key: 'name' },
  'fast.rm': { of: 'fast', key: 'name' },
  'enclave.show': { of: 'enclave', key: 'enclave' },
  'enclave.open': { of: 'enclave', key: 'enclave' },
  'enclave.close': { of: 'enclave', key: 'enclave' },
  'enclave.passwd': { of: 'enclave', key: 'enclave' },
  'enclave.recovery': { of: 'enclave', key: 'enclave' },
  'enclave.rm': { of: 'enclave', key: 'enclave' },
};

/** Parameters that only root may use: what makes the call root's, or undefined. */
type RootParameters = { [M in MethodName]?: (params: Checked<M>) => string | undefined };

const ofInputs = (...inputs: ({ kind: string } | undefined)[]) =>
  inputs.some((input) => input?.kind === 'path')
    ? 'only root may name a path of the machine; send the data instead'
    : undefined;
const ofPrivileged = (wanted: boolean | undefined) =>
  wanted === true ? 'only root may allow privileged files' : undefined;

const ofCredential = (credential: string | undefined) =>
  credential === undefined ? undefined : 'only root may use a credential of the service';
const ofVolume = (volume: string | undefined, what = 'a slot') =>
  volume === 'system' ? `only root may put ${what} in the volume of the system` : undefined;

/** Parameters that are root's, by method. */
export const rootParameters: RootParameters = {
  'bulk.open': ({ direction }) =>
    direction === 'down' ? 'only root may fetch what a change writes' : undefined,
  'base.import': ({ source }) =>
    source.kind === 'host' ? 'only root may import the running system' : ofInputs(source),
  'persona.create': (params) =>
    ofInputs(params.tree, params.diff, params.seed, params.config, params.applications) ??
    ofPrivileged(params.allowPrivileged),
  'persona.import': (params) => ofInputs(params.source) ?? ofPrivileged(params.allowPrivileged),
  'fast.create': ({ volume }) => ofVolume(volume, 'a fast partition'),
  'enclave.create': ({ credential }) => ofCredential(credential),
  'enclave.open': ({ credential }) => ofCredential(credential),
  'enclave.passwd': (params) => ofCredential(params.credential ?? params.new.credential),
  'enclave.recovery': ({ credential }) => ofCredential(credential),
  'app.set': ({ everybody }) =>
    everybody === true ? 'only root may say something for everybody' : undefined,
  'slot.create': ({ owner, volume }) =>
    owner === undefined ? ofVolume(volume) : 'only root may give a slot to somebody',
  'slot.move': ({ to }) => ofVolume(to),
};

/** Who owns what a method names; undefined when it does not exist. */
export type OwnerOf = (of: Concern, key: string | number) => Promise<number | undefined>;

const called: Record<Concern, string> = {
  slot: 'slot',
  persona: 'persona',
  base: 'base',
  fast: 'fast partition',
  change: 'change',
  enclave: 'enclave',
};

const denied = (reason: string) => new PersonaError('permission-denied', { reason });

/** Throws `permission-denied` unless the caller may do exactly this. `params` are checked. */
export async function authorise(
  method: MethodName,
  params: Record<string, unknown>,
  caller: Caller,
  level: Access,
  ownerOf: OwnerOf,
): Promise<void> {
  const { access } = methods[method];
  if (rank[level] < rank[access]) {
    throw denied(
      access === 'root'
        ? 'only root may, on the control socket'
        : 'only root and members of the group persona may, on the control socket',
    );
  }
  const isRoot = level === 'root';
  const reserved = (rootParameters[method] as ((p: unknown) => string | undefined) | undefined)?.(
    params,
  );
  if (reserved !== undefined && !isRoot) throw denied(reserved);
  const thing = owned[method];
  if (thing === undefined || caller.uid === 0) return;
  const owner = await ownerOf(thing.of, params[thing.key] as string | number);
  if (owner !== undefined && owner !== caller.uid)
    throw denied(`this ${called[thing.of]} belongs to another user`);
}
