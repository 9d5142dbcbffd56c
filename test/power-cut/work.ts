import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '../../ipc/client.ts';
import type { LiveDaemon } from '../security/live-daemon.ts';
import { changedCopy } from '../security/trees.ts';
import { done } from '../support/done.ts';
import type { Ledger, State } from './ledger.ts';
import { filesOf, lazyFolder, notesFolder, shownState } from './tree-state.ts';

/** How long an upper may take to end once nobody is in its tree. */
const sealDeadlineMs = 30_000;

/** What the work is done with. */
export interface Workplace {
  daemon: Pick<LiveDaemon, 'run' | 'client'>;
  /** For trees that personas are made of; not on the disk that loses its power. */
  folder: string;
  ledger: Pick<Ledger, 'ask'>;
}

/** A small root tree of files of several sizes. */
function baseTree(folder: string): string {
  const tree = join(folder, 'base');
  for (const inside of ['etc', 'proc', 'dev', 'tmp', 'run', 'usr/share', notesFolder, lazyFolder])
    mkdirSync(join(tree, inside), { recursive: true });
  writeFileSync(join(tree, 'etc/name'), 'base');
  for (let number = 0; number < 40; number += 1)
    writeFileSync(join(tree, `usr/share/file-${number}`), randomBytes(number * 997));
  return tree;
}

function personaTree(folder: string, name: string): { kind: 'path'; path: string } {
  const path = changedCopy(join(folder, 'base'), folder, name);
  for (let number = 0; number < 5; number += 1)
    writeFileSync(join(path, `usr/share/file-${number}`), randomBytes(40_000));
  return { kind: 'path', path };
}

/** The requests, each written into the ledger with what it made of its thing. */
function requests({ daemon, folder, ledger }: Workplace, client: Client, tag = 'note') {
  const tree = (slot: string) => join(daemon.run, 'slots', slot, 'root');
  const state = (slot: string) => async () => shownState(tree(slot));
  let notes = 0;

  const persona = (name: string) =>
    ledger.ask(`persona:${name}`, async () => {
      const source = personaTree(folder, name);
      await done(client, 'persona.create', { name, base: 'base', tree: source });
      const { personas } = await client.call('persona.list', {});
      return { digest: personas.find((one) => one.name === name)?.digest };
    });
  const base = (name: string, path: string) =>
    ledger.ask(`base:${name}`, async () => {
      await done(client, 'base.import', { name, source: { kind: 'path', path } });
      const { bases } = await client.call('base.list', {});
      return { digest: bases.find((one) => one.name === name)?.digest };
    });
  const gone = (thing: string, work: () => Promise<unknown>) =>
    ledger.ask(thing, () => work().then(() => null));

  return {
    base,
    persona,
    dropPersona: (name: string) =>
      gone(`persona:${name}`, () => done(client, 'persona.rm', { persona: name })),
    dropBase: (name: string) => gone(`base:${name}`, () => done(client, 'base.rm', { base: name })),
    slot: (name: string) =>
      ledger.ask(`slot:${name}`, async () => {
        await done(client, 'slot.create', { name });
        return { persona: null } as State;
      }),
    dropSlot: (name: string) =>
      gone(`slot:${name}`, () => done(client, 'slot.rm', { slot: name, discard: true })),
    swap: (slot: string, to: string, fresh = false) =>
      ledger.ask(`slot:${slot}`, async () => {
        await done(client, 'slot.swap', { slot, persona: to, fresh });
        return state(slot)();
      }),
    rollback: (slot: string, to: { to?: number; base?: boolean } = {}) =>
      ledger.ask(`slot:${slot}`, async () => {
        await done(client, 'slot.rollback', { slot, ...to });
        return state(slot)();
      }),
    /** A file that a program in the slot writes and syncs as careful programs do. */
    note: (slot: string) =>
      ledger.ask(`slot:${slot}`, async () => {
        notes += 1;
        await writeSynced(join(tree(slot), notesFolder), `${tag}-${notes}`, randomBytes(3000));
        return state(slot)();
      }),
    /**
     * A file that nobody syncs, in a tree that is then replaced by `next`. Once its upper is called sealed it must be
     * on the disk.
     */
    async leave(slot: string, next: string) {
      const lazy = join(tree(slot), lazyFolder);
      writeFileSync(join(lazy, 'left'), randomBytes(5000).toString('hex'));
      const left = filesOf(lazy);
      const { slots } = await client.call('slot.list', {});
      const id = slots.find(({ name }) => name === slot)?.active?.upper.id ?? '';
      await this.swap(slot, next);
      await ledger.ask(`sealed:${id}`, async () => {
        await sealed(client, slot, id);
        return { files: left };
      });
    },
  };
}

async function writeSynced(folder: string, name: string, bytes: Buffer): Promise<void> {
  const file = await open(join(folder, `.${name}`), 'wx');
  await file.writeFile(bytes.toString('hex'));
  await file.sync();
  await file.close();
  await rename(join(folder, `.${name}`), join(folder, name));
  const parent = await open(folder, 'r');
  await parent.sync();
  await parent.close();
}

async function sealed(client: Client, slot: string, upper: string): Promise<void> {
  const deadline = performance.now() + sealDeadlineMs;
  while (performance.now() < deadline) {
    const { generations } = await client.call('slot.history', { slot });
    if (generations.some((one) => one.upper.id === upper && one.upper.state === 'sealed')) return;
    await pause(20);
  }
  throw new Error(`upper ${upper} was not sealed in ${sealDeadlineMs} ms`);
}

/** What must be there before anything is cut. */
export async function furnish(place: Workplace): Promise<void> {
  const client = await place.daemon.client();
  const { base, persona, slot, swap } = requests(place, client);
  await base('base', baseTree(place.folder));
  for (const name of ['a', 'b', 'c']) await persona(name);
  await slot('work');
  await swap('work', 'a');
  client.close();
}

/**
 * Imports, swaps, rolls back and removes, several things at a time and each thing one request after the other. Between
 * two requests there is a pause of up to `restMs`.
 */
export async function workHard(place: Workplace, restMs: number): Promise<void> {
  const client = await place.daemon.client();
  const ask = requests(place, client);
  const rest = () => pause(Math.random() * restMs);
  const other = join(place.folder, 'b');
  const chains: (() => Promise<unknown>)[][] = [
    [
      () => ask.note('work'),
      () => ask.swap('work', 'b'),
      () => ask.note('work'),
      () => ask.rollback('work'),
      () => ask.note('work'),
      () => ask.leave('work', 'b'),
      () => ask.swap('work', 'a', true),
      () => ask.note('work'),
      () => ask.swap('work', 'b'),
      () => ask.rollback('work', { to: 1 }),
      () => ask.rollback('work', { base: true }),
      () => ask.note('work'),
      () => ask.swap('work', 'a'),
    ],
    [
      () => ask.base('other', other),
      () => ask.persona('d'),
      () => ask.dropPersona('c'),
      () => ask.persona('e'),
      () => ask.dropPersona('d'),
      () => ask.dropBase('other'),
    ],
    [
      () => ask.slot('side'),
      () => ask.swap('side', 'b'),
      () => ask.note('side'),
      () => ask.slot('third'),
      () => ask.dropSlot('side'),
      () => ask.swap('third', 'a'),
      () => ask.rollback('third', { base: true }),
      () => ask.slot('side'),
    ],
  ];
  await Promise.all(
    chains.map(async (chain) => {
      for (const step of chain) {
        await step();
        await rest();
      }
    }),
  );
  client.close();
}

/** The same kinds of work over and over, until the power fails. `tag` makes the names of this run its own. */
export async function workOn(place: Workplace, tag: string): Promise<never> {
  const client = await place.daemon.client();
  const ask = requests(place, client, tag);
  const swaps = async () => {
    for (;;) {
      await ask.note('work');
      await ask.swap('work', 'b');
      await ask.note('work');
      await ask.swap('work', 'c', true);
      await ask.rollback('work');
      await ask.swap('work', 'a');
      await ask.rollback('work', { base: true });
      await ask.swap('work', 'a', true);
    }
  };
  const comings = async () => {
    for (let number = 1; ; number += 1) {
      const name = `${tag}-${number}`;
      await ask.persona(name);
      await ask.slot(name);
      await ask.swap(name, name);
      await ask.note(name);
      await ask.base(name, join(place.folder, name));
      await ask.dropSlot(name);
      await ask.dropPersona(name);
      await ask.dropBase(name);
    }
  };
  await Promise.all([swaps(), comings()]);
  throw new Error('this work has no end');
}
