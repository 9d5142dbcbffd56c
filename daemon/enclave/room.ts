import { join } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { Log } from '../changes/log.ts';
import { type Paths, runPlaces, statePlaces } from '../config/paths.ts';
import type { Store } from '../store/store.ts';
import { type Enclave, readEnclave, type Way } from './enclave-rows.ts';
import { GivenSecrets } from './given-secrets.ts';

/** What the functions and tasks of enclaves are handed. */
export interface EnclaveRoom {
  store: Store;
  log: Log;
  paths: Pick<Paths, 'state' | 'run'>;
  secrets: GivenSecrets;
  /** What is wrong with an enclave, for status; absent when all is well. */
  problems: Map<string, string>;
  /** Names of those that were closed while a program held a file of them. */
  held: Set<string>;
  /** Those whose missing blocks are being taken. */
  taking: Set<Enclave>;
  /** How many closings before a sleep are under way: meanwhile nothing is opened that would have to be closed. */
  sleeps: number;
  /** Milliseconds since 1970. */
  now(): number;
  /** Bytes of the state tree that may be taken beside what is kept free; below 0 when there are too few. */
  spareBytes(): number;
}

/** What the room is opened with. */
export type EnclaveRoomParts = Pick<EnclaveRoom, 'store' | 'log' | 'paths' | 'now' | 'spareBytes'>;

/** The room, with nothing mounted or read yet. */
export function enclaveRoom(parts: EnclaveRoomParts): EnclaveRoom {
  const { store, log, paths, now, spareBytes } = parts;
  return {
    store,
    log,
    paths,
    now,
    spareBytes,
    secrets: new GivenSecrets(),
    problems: new Map(),
    held: new Set(),
    taking: new Set(),
    sleeps: 0,
  };
}

/** The folder of all enclaves in the state tree. */
export function foldersOf({ paths }: Pick<EnclaveRoom, 'paths'>): string {
  return join(paths.state, statePlaces.enclaves);
}

/** The folder of one: by its id, so that a name that comes again never meets what another enclave has left. */
export function folderOf(room: Pick<EnclaveRoom, 'paths'>, id: string): string {
  return join(foldersOf(room), id);
}

/** Last part of the path of a volume: the file system, or what shows one when it is unlocked. */
export const volumeNames: Record<Way, string> = { fscrypt: 'volume.ext4', luks2: 'volume.luks' };

/** The volume of an enclave. */
export function volumeOf(
  room: Pick<EnclaveRoom, 'paths'>,
  { id, way }: Pick<Enclave, 'id' | 'way'>,
): string {
  return join(folderOf(room, id), volumeNames[way]);
}

/** The wrapped key of an enclave. */
export function keyFileOf(room: Pick<EnclaveRoom, 'paths'>, id: string): string {
  return join(folderOf(room, id), 'key.json');
}

/** The next one, while what opens the enclave is changed. */
export function nextKeyFileOf(room: Pick<EnclaveRoom, 'paths'>, id: string): string {
  return join(folderOf(room, id), 'key-next.json');
}

/** The key of an enclave wrapped by its recovery key, where it has one. */
export function recoveryFileOf(room: Pick<EnclaveRoom, 'paths'>, id: string): string {
  return join(folderOf(room, id), 'recovery.json');
}

/** The next one, while another recovery key is made. */
export function nextRecoveryFileOf(room: Pick<EnclaveRoom, 'paths'>, id: string): string {
  return join(folderOf(room, id), 'recovery-next.json');
}

/** What says of a volume what it is, without the database. */
export function recordOf(room: Pick<EnclaveRoom, 'paths'>, id: string): string {
  return join(folderOf(room, id), 'enclave.json');
}

/** Where enclaves are shown. */
export function anchorsOf({ paths }: Pick<EnclaveRoom, 'paths'>): string {
  return join(paths.run, runPlaces.enclaves);
}

/** Where an enclave is shown while it is open. */
export function anchorOf(room: Pick<EnclaveRoom, 'paths'>, name: string): string {
  return join(anchorsOf(room), name);
}

/** Where it is while it is being opened or closed: root's alone. No name of an enclave begins with a dot. */
export function asideOf(room: Pick<EnclaveRoom, 'paths'>, name: string): string {
  return join(anchorsOf(room), '.aside', name);
}

/** What a step is told of its enclave. */
export type Planned = {
  enclave: string;
  /** Whose change it is: by its turn another may have the name. Absent in changes of versions before. */
  id?: string;
};

/** The enclave that a change was planned for, undefined when it is gone. */
export async function findPlanned(
  { store }: EnclaveRoom,
  { enclave: name, id }: Planned,
): Promise<Enclave | undefined> {
  const enclave = await readEnclave(store, name);
  return id === undefined || enclave?.id === id ? enclave : undefined;
}

/** The same. Throws `enclave-not-found`. */
export async function plannedOf(room: EnclaveRoom, planned: Planned): Promise<Enclave> {
  const enclave = await findPlanned(room, planned);
  if (enclave === undefined)
    throw new PersonaError('enclave-not-found', { enclave: planned.enclave });
  return enclave;
}

/** The enclave of this name. Throws `enclave-not-found`. */
export function enclaveOf(room: EnclaveRoom, name: string): Promise<Enclave> {
  return plannedOf(room, { enclave: name });
}
