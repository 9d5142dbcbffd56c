import { PersonaError } from '../../ipc/errors.ts';
import type { Request, Rooms } from '../api/rooms.ts';
import type { Plan } from '../changes/change.ts';
import type { Engine } from '../changes/engine.ts';
import { isEnded, isStuck } from '../changes/status.ts';
import type { AnyTask } from '../changes/task.ts';
import { assuranceOf, enclavePage } from '../enclave/enclave-pages.ts';
import { type KeyKind, readEnclaves } from '../enclave/enclave-rows.ts';
import { enclaveTasks } from '../enclave/enclave-tasks.ts';
import {
  ownerOfEnclave,
  planClose,
  planCreate,
  planOpen,
  planPasswd,
  planRecovery,
  planRemove,
} from '../enclave/enclaves.ts';
import type { GivenSecret } from '../enclave/given-secrets.ts';
import { type EnclaveHealth, enclaveNotices, healthOfEnclaves } from '../enclave/health.ts';
import { type Home, homeOf } from '../enclave/home.ts';
import { IdleWatch } from '../enclave/idle.ts';
import {
  type EnclaveRoom,
  type EnclaveRoomParts,
  enclaveOf,
  enclaveRoom,
} from '../enclave/room.ts';
import { closePlaces, openPlaces, settleEnclaves } from '../enclave/settle.ts';
import { type Asked, closeForSleep } from '../enclave/sleep.ts';
import type { OpenParams } from '../enclave/tasks/open.ts';
import { boottimeMs } from '../kernel/clock.ts';

type EnclaveMethods = Pick<Rooms, Extract<keyof Rooms, `enclave.${string}`>>;

/** Enclaves of a running daemon. */
export interface Enclaves {
  tasks: AnyTask[];
  methods(engine: Engine): EnclaveMethods;
  owner(name: string): Promise<number | undefined>;
  /** The enclave that is to be the home of an application of this user. */
  home(uid: number, wanted: string | undefined): Promise<Home>;
  /** Somebody has one. */
  any(): Promise<boolean>;
  /** Looks at the volume of each. */
  health(): Promise<EnclaveHealth[]>;
  /** What wants a person, for the status page. */
  notices(): Promise<{ text: string; command: string }[]>;
  /** After the engine has recovered: brings rows and machine together, and begins to look after idle ones. */
  settle(engine: Engine): Promise<void>;
  /** Lets go of everything but what is open. */
  close(): Promise<void>;
}

/**
 * The secret behind the ticket of a request, or the credential that it names; nothing in a dry run, which takes none, and where the TPM
 * has it.
 */
function secretOf(
  request: Request,
  key: KeyKind,
  { secret, credential }: { secret?: string | undefined; credential?: string | undefined },
): GivenSecret | undefined {
  if (secret !== undefined && credential !== undefined)
    throw new PersonaError('bad-value', { name: 'secret', reason: 'a credential is given, too' });
  if (key === 'tpm2' && (secret ?? credential) !== undefined)
    throw new PersonaError('bad-value', { name: 'secret', reason: 'the TPM has it' });
  if (request.dryRun || key === 'tpm2') return undefined;
  if (credential !== undefined) return request.credential(credential);
  if (secret === undefined)
    throw new PersonaError('bad-value', { name: 'secret', reason: 'it is missing' });
  return request.secret(secret);
}

/** Closes an enclave as its owner would. True when a program still holds a file of it. */
async function closeNow(
  room: EnclaveRoom,
  engine: Engine,
  params: { enclave: string; force?: boolean },
  places?: Pick<Plan, 'places'>,
): Promise<boolean> {
  const { owner } = await enclaveOf(room, params.enclave);
  const plan = await planClose(room, params, { uid: owner });
  const { done } = await engine.submit({ ...plan, ...places });
  const { error, result } = await done;
  if (error !== undefined) throw new Error(error.message);
  return (result as { held?: boolean } | undefined)?.held === true;
}

/** What is being opened, and is to be closed before the machine sleeps. What has yet to start is refused when it does. */
function openingsOf(engine: Engine): Asked[] {
  return engine
    .open()
    .filter(({ kind, status }) => kind === 'enclave.open' && status !== 'queued')
    .map(({ id, tasks }) => ({ id, params: tasks[0]?.params as OpenParams }))
    .filter(({ params }) => params.beforeSleep === true)
    .map(({ id, params: { enclave } }) => ({ enclave, ended: endOf(engine, id) }));
}

/** Resolves when a change has ended, however. Throws when it is stuck. */
async function endOf(engine: Engine, id: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = await engine.follow(id, ({ status }) => {
    if (isEnded(status)) resolve();
    else if (isStuck(status)) reject(new Error(`change ${id} is stuck`));
  });
  await promise.finally(stop);
}

function enclaveMethods(room: EnclaveRoom, engine: Engine): EnclaveMethods {
  const pageOf = async (name: string) => enclavePage(room, await enclaveOf(room, name));
  return {
    'enclave.create': async (params, request) => ({
      plan: await planCreate(
        room,
        { ...params, secret: secretOf(request, params.key, params) },
        request.caller,
      ),
      answer: async () => ({ enclave: await pageOf(params.name) }),
    }),
    'enclave.list': async (_, { caller }) => {
      const all = await readEnclaves(room.store);
      const mine = all.filter(({ owner }) => caller.uid === 0 || owner === caller.uid);
      return { enclaves: await Promise.all(mine.map((one) => enclavePage(room, one))) };
    },
    'enclave.show': async ({ enclave: name }) => {
      const enclave = await enclaveOf(room, name);
      return {
        enclave: await enclavePage(room, enclave),
        assurance: await assuranceOf(room, enclave),
      };
    },
    'enclave.open': async (params, request) => {
      const { key } = await enclaveOf(room, params.enclave);
      const secret = secretOf(request, params.recovery ? 'passphrase' : key, params);
      return {
        plan: await planOpen(room, { ...params, secret }, request.caller),
        answer: async () => ({ enclave: await pageOf(params.enclave) }),
      };
    },
    'enclave.close': async (params, { caller }) => ({
      plan: await planClose(room, params, caller),
    }),
    'enclave.sleep': () =>
      closeForSleep({
        room,
        openings: () => openingsOf(engine),
        // He and others can keep the places of users taken for long, and the lid is shut now.
        close: (enclave) => closeNow(room, engine, { enclave, force: true }, { places: 'root' }),
      }),
    'enclave.passwd': async ({ new: next, ...params }, request) => {
      const { key } = await enclaveOf(room, params.enclave);
      const secret = secretOf(request, params.recovery ? 'passphrase' : key, params);
      const nextSecret = secretOf(request, next.key, next);
      return {
        plan: await planPasswd(
          room,
          { ...params, secret, next: { ...next, secret: nextSecret } },
          request.caller,
        ),
        answer: async () => ({ enclave: await pageOf(params.enclave) }),
      };
    },
    'enclave.recovery': async ({ recovery: ticket, ...params }, request) => {
      const { key } = await enclaveOf(room, params.enclave);
      const secret = secretOf(request, key, params);
      const recovery = secretOf(request, 'passphrase', { secret: ticket });
      return {
        plan: await planRecovery(room, { ...params, secret, recovery }, request.caller),
        answer: async () => ({ enclave: await pageOf(params.enclave) }),
      };
    },
    'enclave.rm': async ({ enclave }, { caller }) => ({
      plan: await planRemove(room, enclave, caller),
    }),
  };
}

/** Names that unfinished changes hold. */
function heldNames(engine: Engine): ReadonlySet<string> {
  const holds = engine.open().flatMap((change) => change.holds);
  return new Set(
    holds.filter((one) => one.startsWith('enclave:')).map((one) => one.slice('enclave:'.length)),
  );
}

/** Opens the room of enclaves. */
export function openEnclaves(parts: EnclaveRoomParts): Enclaves {
  const room = enclaveRoom(parts);
  let watch: IdleWatch | undefined;
  return {
    tasks: enclaveTasks(room),
    methods: (engine) => enclaveMethods(room, engine),
    owner: (name) => ownerOfEnclave(room, name),
    home: (uid, wanted) => homeOf(room, uid, wanted),
    any: async () => (await readEnclaves(room.store)).length > 0,
    health: () => healthOfEnclaves(room),
    notices: () => enclaveNotices(room),
    async settle(engine) {
      openPlaces(room);
      await settleEnclaves(room, heldNames(engine));
      watch ??= new IdleWatch({
        room,
        clock: boottimeMs,
        async close(enclave) {
          await closeNow(room, engine, { enclave });
        },
      });
      watch.start();
    },
    async close() {
      await watch?.stop();
      room.secrets.close();
      await closePlaces(room);
    },
  };
}
