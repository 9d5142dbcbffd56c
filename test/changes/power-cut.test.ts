import { constants, copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Faults } from '../../daemon/changes/faults.ts';
import type { Json } from '../../daemon/changes/task.ts';
import type { Daemon } from '../../daemon/wiring.ts';
import { unmountBelow } from '../support/mount-scratch.ts';
import { when } from '../support/needs.ts';
import {
  type Asked,
  ask,
  furnish,
  mountDisk,
  mustDo,
  rootRequest,
  smallDisk,
  smallTree,
  startSilent,
} from '../support/silent-daemon.ts';

// SECURITY 6: the power fails. The daemon runs on an ext4 in a file; at each point of a change that file is
// copied. What was not flushed is not in it, so every copy is the disk as a power cut would leave it.

/** What rows, files and the slot say, without times and ids. */
async function observe({ store, rooms, engine }: Daemon, root: string): Promise<Json> {
  const { slots } = await rooms.methods(engine)['slot.list']({}, rootRequest);
  const rows = await store.all(
    'SELECT slot, number, persona, result FROM generations ORDER BY number',
  );
  return {
    slots: slots.map(({ name, state, active }) => ({
      name,
      state,
      persona: active?.persona?.name ?? null,
      seen: readFileSync(join(root, 'run/slots', name, 'root/etc/name'), 'utf8'),
    })),
    generations: rows as unknown as Json,
    personas: await store.all('SELECT name FROM personas ORDER BY name'),
    files: ['layers', 'personas', 'staging', 'quarantine'].map(
      (place) => readdirSync(join(root, 'state', place)).length,
    ),
  } as unknown as Json;
}

/** Every layer and persona is read again: a row never names bytes that are not on the disk. */
async function verifyAll(daemon: Daemon, root: string): Promise<string[]> {
  const faults: string[] = [];
  for (const place of ['layers', 'personas'])
    for (const name of readdirSync(join(root, 'state', place)).filter((one) => /json$/.test(one)))
      if (readFileSync(join(root, 'state', place, name), 'utf8').length === 0)
        faults.push(`the record ${name} is empty`);
  for (const { name } of await daemon.store.all('SELECT name FROM personas')) {
    const { status, result, error } = await ask(daemon, (m) =>
      m['persona.verify']({ persona: String(name) }, rootRequest),
    );
    if (status !== 'done' || (result as { ok?: boolean } | undefined)?.ok !== true)
      faults.push(`${String(name)}: ${JSON.stringify(error ?? result)}`);
  }
  return faults;
}

const changes: [string, (folder: string) => Asked][] = [
  ['a swap', () => (m) => m['slot.swap']({ slot: 'work', persona: 'a', fresh: true }, rootRequest)],
  [
    'a new persona',
    (folder) => (m) => {
      const tree = { kind: 'path' as const, path: smallTree(folder, 'c') };
      return m['persona.create']({ name: 'c', base: 'base', tree }, rootRequest);
    },
  ],
  ['a removal', () => (m) => m['persona.rm']({ persona: 'unused' }, rootRequest)],
];

const needs = { root: true, tools: ['mkfs.ext4', 'mount', 'truncate', 'bwrap'] };

for (const [name, asked] of changes)
  when(test, needs)(`${name} and a power cut at each of its points`, async (t) => {
    t.timeout(280_000);
    const { folder, image, root } = smallDisk(t, 96);
    mkdirSync(join(folder, 'cuts'));
    const cuts: string[] = [];
    let armed = false;
    const faults: Faults = {
      at: async (point) => {
        if (!armed) return;
        copyFileSync(image, join(folder, 'cuts', `${cuts.length}`), constants.COPYFILE_FICLONE);
        cuts.push(point);
      },
    };
    const daemon = await startSilent(root, { faults });
    await furnish(daemon, folder);
    const unused = { kind: 'path' as const, path: smallTree(folder, 'unused') };
    await mustDo(daemon, (m) =>
      m['persona.create']({ name: 'unused', base: 'base', tree: unused }, rootRequest),
    );
    const first = await observe(daemon, root);
    armed = true;
    const result = await ask(daemon, asked(folder));
    armed = false;
    t.is(result.status, 'done', JSON.stringify(result.error));
    const target = await observe(daemon, root);
    await daemon.stop();
    let committed = false;
    for (const [index, point] of cuts.entries()) {
      await unmountBelow(root);
      await unmountBelow(folder);
      mountDisk(join(folder, 'cuts', `${index}`), root);
      const after = await startSilent(root);
      const seen = await observe(after, root);
      t.is(after.degraded, undefined, point);
      t.deepEqual(after.engine.open(), [], point);
      t.deepEqual(await verifyAll(after, root), [], `after a power cut at ${point}`);
      const isFirst = JSON.stringify(seen) === JSON.stringify(first);
      t.deepEqual(seen, isFirst && !committed ? first : target, `after a power cut at ${point}`);
      // From the durable commit on there is no way back, whatever of the rest was on its way.
      if (/^journal:after:.*commit/.test(point)) committed = true;
      if (committed) t.deepEqual(seen, target, `after a power cut at ${point}`);
      await after.stop();
    }
    t.true(cuts.length > 3);
  });
