import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { statePlaces } from '../../../daemon/config/paths.ts';
import { personaSource } from '../../../daemon/personas/activation.ts';
import { layerFile } from '../../../daemon/personas/layer.ts';
import { adoptLayer, dropLayerFile } from '../../../daemon/personas/layer-store.ts';
import { planRemove } from '../../../daemon/personas/personas.ts';
import { plain } from '../../changes/machine.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  importPersona,
  named,
  openPersonaMachine,
  personaMachine,
  storeFacts,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';
import { builtTar } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';

const whenRoot = when(test, confinedNeeds);
const seed = gzipSync(builtTar({ name: 'root/note', data: 'seed', mode: 0o600 }));

whenRoot('a removal leaves the layers that an import is about to name', async (t) => {
  let atPack = async () => {};
  const machine = await openPersonaMachine(temporaryFolder(t), {
    ...plain,
    faults: {
      at: async (point) => {
        if (point === 'do:personas.write-file') await atPack();
      },
    },
  });
  await machine.engine.recover();
  t.teardown(() => machine.close());
  const tree = writeBaseTree(machine.folder);
  await importBase(t, machine, 'one', tree);
  const before = await storeFacts(machine);
  const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, machine, {
    name: 'work',
    base: 'one',
    tree: named(wanted),
    seed: uploaded(machine, seed),
    environment: { EDITOR: 'vi' },
  });
  const file = await exported(machine, 'work');
  const removed = Promise.withResolvers<string>();
  atPack = async () => {
    const { status } = await machine.run(planRemove(machine.room, 'work', 0));
    removed.resolve(status);
  };
  await importPersona(t, machine, file, { name: 'twin' });
  t.is(await removed.promise, 'done');
  const source = personaSource(machine.room);
  const { layers } = await source.persona('twin');
  t.deepEqual(
    layers.map(({ kind }) => kind),
    ['config', 'seed', 'diff', 'base'],
  );
  for (const layer of layers) (await source.open(layer)).close();
  await machine.run(planRemove(machine.room, 'twin', 0));
  t.deepEqual(await storeFacts(machine), before, 'the last one takes them away');
});

whenRoot('a layer that comes while its like is being removed stays', async (t) => {
  const { room, state, store } = await personaMachine(t);
  const digest = `sha256:${'5'.repeat(64)}`;
  const layer = { digest, kind: 'seed' as const, bytes: 4, made: 'created' as const, createdMs: 1 };
  const place = join(state, layerFile(digest));
  const staging = join(state, statePlaces.staging, '1');
  mkdirSync(staging);
  const adopt = async (name: string) => {
    writeFileSync(join(staging, name), name);
    await adoptLayer(room, 1, join(staging, name), layer);
  };
  writeFileSync(place, 'old');
  const get = store.get.bind(store);
  // In the moment in which the removal has its answer: no row names it.
  store.get = async (sql, ...values) => {
    const row = await get(sql, ...values);
    await adopt('new');
    return row as never;
  };
  await dropLayerFile(room, digest);
  t.true(existsSync(place));
});
