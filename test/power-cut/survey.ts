import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../daemon/changes/log.ts';
import { readMountinfo } from '../../daemon/kernel/mountinfo.ts';
import { readRecord } from '../../daemon/kernel/records.ts';
import type { Daemon } from '../../daemon/wiring.ts';
import { ask, type Methods, rootRequest, startSilent } from '../support/silent-daemon.ts';
import type { Ledger, State } from './ledger.ts';
import { filesOf, lazyFolder, shownState } from './tree-state.ts';

/** What was found after a power cut. */
interface Found {
  things: Map<string, State>;
  /** What is wrong by itself, whatever had been asked for. */
  faults: string[];
}

/** A daemon's log that keeps what it would have complained of. */
function listening(complaints: string[]): Log {
  const hear = (facts: object, message: string) => {
    const { err, ...rest } = facts as { err?: unknown };
    complaints.push(`${message} ${JSON.stringify(rest)} ${err === undefined ? '' : String(err)}`);
  };
  return { debug: () => {}, info: () => {}, warn: hear, error: hear };
}

/**
 * Starts a daemon on the disk that a power cut left (mounted at `root`/state) and looks at everything: the daemon
 * itself, what it shows, every byte it keeps. Then life must go on: a swap, a stop, a second start that finds the same.
 * Returns what is wrong; empty when all is well.
 */
export async function survey(root: string, ledger: Ledger, position: number): Promise<string[]> {
  const complaints: string[] = [];
  const faults: string[] = [];
  let daemon: Daemon;
  try {
    daemon = await startSilent(root, {}, { log: listening(complaints) });
  } catch (error) {
    return [`it does not start: ${(error as Error).stack}`];
  }
  try {
    const found = await look(daemon, root);
    // Before its upper was called sealed nothing was promised of a file that nobody synced.
    for (const thing of ledger.sure(position).filter((one) => one.startsWith('sealed:')))
      found.things.set(thing, sealedState(root, thing.slice('sealed:'.length)));
    faults.push(...found.faults, ...ledger.judge(found.things, position));
    if (faults.length === 0) faults.push(...(await lifeGoesOn(daemon, root)));
  } catch (error) {
    faults.push(`it cannot be looked at: ${(error as Error).stack}`);
  } finally {
    await daemon.stop();
  }
  faults.push(...unfinished(join(root, 'state')));
  return faults.length === 0 ? [] : [...faults, ...complaints.map((one) => `log: ${one}`)];
}

async function look(daemon: Daemon, root: string): Promise<Found> {
  const { store, rooms, engine } = daemon;
  const faults: string[] = [];
  const things = new Map<string, State>();
  const methods = rooms.methods(engine);
  if (daemon.degraded !== undefined) faults.push(`it is degraded: ${daemon.degraded}`);
  for (const { id, status } of engine.open()) faults.push(`change ${id} is ${status}`);
  for (const row of await store.all('SELECT name, digest FROM bases'))
    things.set(`base:${row.name}`, { digest: row.digest });
  for (const row of await store.all('SELECT name, digest FROM personas'))
    things.set(`persona:${row.name}`, { digest: row.digest });
  const { slots } = await methods['slot.list']({}, rootRequest);
  for (const { name, active, problem } of slots) {
    if (problem !== undefined) faults.push(`slot ${name}: ${problem}`);
    const shown = join(root, 'run/slots', name, 'root');
    things.set(`slot:${name}`, active === undefined ? { persona: null } : stateAt(shown));
    if (active !== undefined && active.state !== 'good')
      faults.push(`slot ${name} shows a generation that is ${active.state}`);
  }
  faults.push(...mountFaults(root, slots.filter(({ active }) => active !== undefined).length));
  faults.push(...(await fileFaults(daemon, root)), ...(await doctorFaults(methods)));
  return { things, faults };
}

function stateAt(tree: string): State {
  try {
    return shownState(tree);
  } catch (error) {
    return { unreadable: String(error) };
  }
}

/** One tree for each slot that shows one, each of them without set-user-id programs and devices. */
function mountFaults(root: string, active: number): string[] {
  const mounts = readMountinfo().filter(({ at }) => at.startsWith(`${root}/run`));
  const overlays = mounts.filter(({ type }) => type === 'overlay');
  const faults: string[] = [];
  if (overlays.length !== active)
    faults.push(`${overlays.length} trees are shown for ${active} active slots`);
  for (const { at, options } of overlays)
    if (!options.includes('nosuid') || !options.includes('nodev'))
      faults.push(`${at} is mounted ${options}`);
  for (const { at, type } of mounts)
    if (type === 'erofs') faults.push(`a layer is left mounted at ${at}`);
  return faults;
}

function sealedState(root: string, id: string): State {
  const slots = join(root, 'state/slots');
  for (const slot of readdirSync(slots)) {
    const files = filesOf(join(slots, slot, 'uppers', id, 'fs', lazyFolder));
    if (Object.keys(files).length > 0) return { files };
  }
  return null;
}

/** Files and rows must be the same things, and every image must hold the bytes that its name promises. */
async function fileFaults({ store }: Daemon, root: string): Promise<string[]> {
  const faults: string[] = [];
  const state = join(root, 'state');
  const names = (place: string) => readdirSync(join(state, place));
  for (const place of ['staging', 'quarantine'])
    for (const name of names(place)) faults.push(`${place} holds ${name}`);
  const compare = async (place: string, sql: string, ends: string[]) => {
    const known = (await store.all(sql)).map(({ digest }) => String(digest).replace(':', '-'));
    const wanted = new Set(known.flatMap((name) => ends.map((end) => name + end)));
    for (const name of wanted) if (!names(place).includes(name)) faults.push(`${name} is missing`);
    for (const name of names(place))
      if (!wanted.has(name)) faults.push(`no row names ${place}/${name}`);
  };
  await compare('layers', 'SELECT digest FROM layers', ['.erofs', '.json']);
  await compare('personas', 'SELECT digest FROM personas', ['.osp', '.json']);
  for (const name of names('layers').filter((one) => one.endsWith('.erofs'))) {
    const bytes = readFileSync(join(state, 'layers', name));
    if (`sha256-${createHash('sha256').update(bytes).digest('hex')}.erofs` !== name)
      faults.push(`the bytes of layers/${name} are not those of its name`);
  }
  for (const [place, kind] of [
    ['layers', 'layer'],
    ['personas', 'persona'],
  ] as const)
    for (const name of names(place).filter((one) => one.endsWith('.json')))
      if ((await readRecord(join(state, place, name), kind)) === undefined)
        faults.push(`the record ${place}/${name} is damaged`);
  return [...faults, ...(await slotFaults(store, state))];
}

/** Files that were only being written: after a clean stop there are none, of this run or of the one before. */
function unfinished(state: string): string[] {
  const slots = readdirSync(join(state, 'slots')).map((slot) => join('slots', slot));
  const inSlots = slots.flatMap((slot) => [join(slot, 'generations'), join(slot, 'uppers')]);
  return ['.', 'keys', 'keys/trusted', 'layers', 'personas', ...inSlots].flatMap((place) =>
    (existsSync(join(state, place)) ? readdirSync(join(state, place)) : [])
      .filter((name) => name.startsWith('.new'))
      .map((name) => `${place} holds ${name}`),
  );
}

/** A slot's folder has a row; what is written in an upper belongs to one that a row names. */
async function slotFaults(store: Daemon['store'], state: string): Promise<string[]> {
  const faults: string[] = [];
  const slots = new Set((await store.all('SELECT name FROM slots')).map(({ name }) => name));
  const uppers = new Set((await store.all('SELECT id FROM uppers')).map(({ id }) => id));
  for (const slot of readdirSync(join(state, 'slots'))) {
    if (!slots.has(slot)) faults.push(`no row names slots/${slot}`);
    const folder = join(state, 'slots', slot, 'uppers');
    for (const name of readdirSync(folder).filter((one) => /^[^.]+$/.test(one)))
      if (!uppers.has(name) && readdirSync(join(folder, name, 'fs')).length > 0)
        faults.push(`no row names slots/${slot}/uppers/${name}, which holds files`);
  }
  return faults;
}

async function doctorFaults(methods: Methods): Promise<string[]> {
  const { checks } = await methods['daemon.doctor']({}, rootRequest);
  return checks
    .filter(({ state }) => state !== 'ok')
    .map(({ name, detail }) => `doctor: ${name}: ${detail}`);
}

/** What was found is of use: every persona can be read through, the slot can be swapped and taken back. */
async function lifeGoesOn(daemon: Daemon, root: string): Promise<string[]> {
  const faults: string[] = [];
  for (const { name } of await daemon.store.all('SELECT name FROM personas')) {
    const { status, result, error } = await ask(daemon, (m) =>
      m['persona.verify']({ persona: String(name) }, rootRequest),
    );
    if (status !== 'done' || (result as { ok?: boolean } | undefined)?.ok !== true)
      faults.push(`persona ${String(name)} is not whole: ${JSON.stringify(error ?? result)}`);
  }
  const shown = join(root, 'run/slots/work/root');
  const before = shownState(shown);
  const { persona } = before as { persona: string };
  const other = persona === 'a' ? 'b' : 'a';
  const swap = await ask(daemon, (m) =>
    m['slot.swap']({ slot: 'work', persona: other }, rootRequest),
  );
  const seen = shownState(shown).persona;
  if (swap.status !== 'done' || seen !== other)
    faults.push(`a swap to ${other} is ${JSON.stringify(swap)} and shows ${String(seen)}`);
  const back = await ask(daemon, (m) => m['slot.rollback']({ slot: 'work' }, rootRequest));
  if (back.status !== 'done' || JSON.stringify(shownState(shown)) !== JSON.stringify(before))
    faults.push(`a rollback is ${JSON.stringify(back)} and does not bring the state back`);
  return faults;
}
