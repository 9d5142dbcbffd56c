import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { buildImage, startWorker } from '../../../daemon/personas/image-children.ts';
import { planCreate } from '../../../daemon/personas/personas.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { importBase, named, openPersonaMachine, writeBaseTree } from '../../support/personas.ts';
import { temporaryFolder } from '../../support/temp.ts';

// What is kept free of the disk stays free, whatever a small file unpacks to.

const whenRoot = when(test, confinedNeeds);
const MiB = 1024 ** 2;

/** A machine with a base, which can spare so much from then on. */
async function sparing(t: ExecutionContext, spare: number) {
  const folder = temporaryFolder(t);
  const space = { bytes: Number.MAX_SAFE_INTEGER, spareBytes: () => space.bytes };
  const machine = await openPersonaMachine(folder, undefined, space);
  t.teardown(() => machine.close());
  await machine.engine.recover();
  const tree = writeBaseTree(folder);
  await importBase(t, machine, 'one', tree);
  space.bytes = spare;
  return { folder, machine, tree };
}

whenRoot('what unpacks to more than can be spared is refused, wherever it is given', async (t) => {
  const { folder, machine, tree } = await sparing(t, 4 * MiB);
  const bomb = join(folder, 'bomb');
  writeFileSync(bomb, gzipSync(Buffer.alloc(16 * MiB)));
  const given = {
    tree: { tree: named(bomb) },
    image: { diff: named(bomb) },
    seed: { tree: named(tree), seed: named(bomb) },
  };
  for (const [what, inputs] of Object.entries(given)) {
    const make = { name: 'work', base: 'one', ...inputs };
    const { status, error } = await machine.run(planCreate(machine.room, make, 0));
    t.is(status, 'failed', what);
    t.is(error?.code, 'no-space', `${what}: ${JSON.stringify(error)}`);
    t.deepEqual(readdirSync(join(machine.state, 'staging')), [], what);
  }
});

whenRoot('a building ends when others take what is kept free', async (t) => {
  const { folder } = await sparing(t, 0);
  // It says nothing for as long as it is told nothing.
  const source = await startWorker(['write'], [], { input: true });
  let looks = 0;
  const space = { spareBytes: () => (looks++ === 0 ? MiB : -1) };
  const work = { signal: new AbortController().signal, space };
  await t.throwsAsync(buildImage(source, join(folder, 'image'), work), { code: 'no-space' });
});
