import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { noFaults } from '../../../daemon/changes/faults.ts';
import { openDriver } from '../../../daemon/store/database.ts';
import { collectTasks, planCollect } from '../../../daemon/system/collect.ts';
import { unusedLayers } from '../../../daemon/system/unused-layers.ts';
import { openParts } from '../../changes/sample.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;

test('only layers that nothing names go, checked again at the commit', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'personad-collect-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'layers'));
  const hooks = { faults: noFaults, openDriver, wrapTask: <T>(task: T): T => task };
  const collectors: ReturnType<typeof unusedLayers>[] = [];
  // The tasks need the store, which comes with the engine: they find it when they run.
  const { store, engine } = await openParts(folder, collectTasks(collectors), hooks);
  t.teardown(() => store.close());
  collectors.push(unusedLayers(folder, store));
  await engine.recover();
  const file = (digit: string) => join(folder, 'layers', `sha256-${digit.repeat(64)}.erofs`);
  for (const digit of ['a', 'b', 'c', 'd', 'e', 'f']) writeFileSync(file(digit), 'x');
  await store.commit((tx) => {
    for (const digit of ['a', 'b', 'c', 'd', 'e', 'f'])
      tx.run(
        `INSERT INTO layers (digest, kind, bytes, made, created) VALUES (?, 'base', 7, 'created', 0)`,
        digest(digit),
      );
    tx.run(`INSERT INTO bases (name, digest, owner, created) VALUES ('one', ?, 0, 0)`, digest('a'));
    tx.run(
      `INSERT INTO personas (name, digest, base_digest, owner, created, bytes) VALUES ('p', 'x', ?, 0, 0, 0)`,
      digest('b'),
    );
    tx.run(
      `INSERT INTO persona_layers (persona, position, kind, digest) VALUES ('p', 0, 'seed', ?)`,
      digest('c'),
    );
    tx.run(
      `INSERT INTO generations (slot, number, result, created, detail) VALUES ('s', 1, 'good', 0, ?)`,
      JSON.stringify({ layers: [{ digest: digest('d') }] }),
    );
  });
  const plan = await planCollect(collectors, 0);
  t.is(plan.summary, 'remove 2 unused things');
  t.regex(
    engine.dryRun(plan).tasks[1]!.summary,
    /bases sha256:e+ \(7 B\), bases sha256:f+ \(7 B\)/,
  );
  // Taken up between the plan and its commit.
  await store.commit((tx) =>
    tx.run(`INSERT INTO bases (name, digest, owner, created) VALUES ('two', ?, 0, 0)`, digest('f')),
  );
  const result = await (await engine.submit(plan)).done;
  t.deepEqual(result.result, {
    removed: [{ kind: 'bases', name: digest('e'), bytes: 7 }],
    bytes: 7,
  });
  t.deepEqual(
    ['a', 'b', 'c', 'd', 'e', 'f'].filter((digit) => existsSync(file(digit))),
    ['a', 'b', 'c', 'd', 'f'],
  );
  t.is((await store.get('SELECT count(*) AS n FROM layers'))?.n, 5);
});
