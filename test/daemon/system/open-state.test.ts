import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Paths, pathsOf } from '../../../daemon/config/paths.ts';
import { writeRecord } from '../../../daemon/kernel/records.ts';
import { quarantineCheck } from '../../../daemon/system/doctor.ts';
import { writeMark } from '../../../daemon/system/mark.ts';
import { openState } from '../../../daemon/system/open-state.ts';
import {
  clearAsides,
  clearStaging,
  quarantineNotices,
  quarantineUnknown,
} from '../../../daemon/system/quarantine.ts';
import { lockState, makeTrees } from '../../../daemon/system/state-tree.ts';

async function trees(t: ExecutionContext): Promise<Paths> {
  const root = mkdtempSync(join(tmpdir(), 'personad-state-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const paths = pathsOf(root);
  const lock = await lockState(paths);
  t.teardown(() => lock.close());
  await makeTrees(paths);
  return paths;
}

const hex = (digit: string) => digit.repeat(64);

/** A tree in use: a slot with an upper of generation 3, a layer, and a database that knows them. */
async function used(t: ExecutionContext): Promise<Paths> {
  const paths = await trees(t);
  const { store, degraded } = await openState(paths);
  t.is(degraded, undefined);
  const upper = join(paths.state, 'slots/work/uppers/aa');
  mkdirSync(join(upper, 'fs'), { recursive: true });
  writeFileSync(join(upper, 'fs/data'), 'precious');
  mkdirSync(join(paths.state, 'slots/work/generations'));
  await writeRecord(join(paths.state, 'slots/work/generations/3.json'), 'generation', {
    number: 3,
  });
  writeFileSync(join(paths.state, `layers/sha256-${hex('a')}.erofs`), 'image');
  await store.commit((tx) => {
    tx.run(
      `INSERT INTO layers (digest, kind, bytes, made, created) VALUES (?, 'base', 5, 'created', 0)`,
      `sha256:${hex('a')}`,
    );
    for (const n of [1, 2, 3])
      tx.run(
        `INSERT INTO generations (slot, number, result, created) VALUES ('work', ?, 'good', 0)`,
        n,
      );
    tx.run(
      `INSERT INTO changes (id, kind, summary, owner, plan, status, created, ended) VALUES (7, '', '', 0, '{}', 'done', 0, 0)`,
    );
  });
  await writeMark(paths.state, store);
  await store.close();
  return paths;
}

/** Every file below the state tree with its bytes, but for the lock. */
function everything(state: string): Record<string, string> {
  const seen: Record<string, string> = {};
  for (const entry of readdirSync(state, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name);
      seen[path] = readFileSync(path, 'latin1');
    }
  return seen;
}

async function expectDegraded(t: ExecutionContext, paths: Paths, reason: RegExp): Promise<void> {
  const before = everything(paths.state);
  const { store, degraded } = await openState(paths);
  t.regex(String(degraded), reason);
  await store.commit((tx) => tx.run("INSERT INTO facts VALUES ('written', 'to the stand-in')"));
  await store.close();
  t.deepEqual(everything(paths.state), before, 'the state tree is byte-equal');
}

test('a fresh tree starts, and starts again', async (t) => {
  const paths = await trees(t);
  for (const _ of [1, 2]) {
    const { store, degraded } = await openState(paths);
    t.is(degraded, undefined);
    await writeMark(paths.state, store);
    await store.close();
  }
});

test('a database that was deleted, emptied or cut makes the start degraded', async (t) => {
  const paths = await used(t);
  const file = join(paths.state, 'personad.db');
  const whole = readFileSync(file);
  rmSync(file);
  await expectDegraded(t, paths, /missing or empty/);
  t.false(readdirSync(paths.state).includes('personad.db'), 'no new one is made');
  writeFileSync(file, '');
  await expectDegraded(t, paths, /missing or empty/);
  writeFileSync(file, whole);
  truncateSync(file, 5_000);
  await expectDegraded(t, paths, /./);
  writeFileSync(file, Buffer.alloc(8192, 'no database'));
  await expectDegraded(t, paths, /cannot be read|damaged/);
  writeFileSync(file, whole);
  const { store, degraded } = await openState(paths);
  t.is(degraded, undefined, 'with the right one back the daemon starts as before');
  await store.close();
});

test('an older or another database makes the start degraded', async (t) => {
  const paths = await used(t);
  const file = join(paths.state, 'personad.db');
  const old = join(paths.run, 'old.db');
  copyFileSync(file, old);
  const { store } = await openState(paths);
  await store.commit((tx) =>
    tx.run(
      `INSERT INTO changes (id, kind, summary, owner, plan, status, created, ended) VALUES (8, '', '', 0, '{}', 'done', 0, 0)`,
    ),
  );
  await writeMark(paths.state, store);
  await store.close();
  copyFileSync(old, file);
  await expectDegraded(t, paths, /older than the state tree: it ends at change 7, not 8/);
  const other = await trees(t);
  await (await openState(other)).store.close();
  copyFileSync(join(other.state, 'personad.db'), file);
  await expectDegraded(t, paths, /not the one of this state tree/);
});

test('a database that misses generations the records speak of makes the start degraded', async (t) => {
  const paths = await used(t);
  const { store } = await openState(paths);
  await store.commit((tx) => tx.run('DELETE FROM generations WHERE number > 1'));
  await store.close();
  await expectDegraded(t, paths, /older than slot work: it misses generation 3/);
});

test('a database of a newer version is an error and is left alone', async (t) => {
  const paths = await used(t);
  const { store } = await openState(paths);
  await store.commit((tx) => tx.run('PRAGMA user_version = 99'));
  await store.close();
  const before = everything(paths.state);
  const error = await t.throwsAsync(openState(paths));
  t.is((error as unknown as { code: string }).code, 'format-too-new');
  t.deepEqual(everything(paths.state), before);
});

test('files without a row go to quarantine and nothing else moves', async (t) => {
  const paths = await used(t);
  const { store } = await openState(paths);
  writeFileSync(join(paths.state, `layers/sha256-${hex('b')}.erofs`), 'unknown');
  writeFileSync(join(paths.state, 'layers/notes.txt'), 'by hand');
  writeFileSync(join(paths.state, `personas/sha256-${hex('c')}.osp`), 'persona');
  const moved = await quarantineUnknown(paths.state, store, 1_000);
  t.deepEqual(moved.map(({ name }) => name).sort(), [
    'notes.txt',
    `sha256-${hex('b')}.erofs`,
    `sha256-${hex('c')}.osp`,
  ]);
  t.deepEqual(readdirSync(join(paths.state, 'layers')), [`sha256-${hex('a')}.erofs`]);
  for (const { path } of moved) t.true(statSync(path).size > 0);
  const notices = quarantineNotices(paths.state);
  t.is(notices.length, 3);
  // Beside each lies a record of where it was found.
  t.is(quarantineCheck(paths.state).detail, '3 things put aside');
  t.true(notices.some(({ command }) => command?.startsWith('personactl persona import ')));
  t.deepEqual(await quarantineUnknown(paths.state, store, 2_000), []);
  await store.close();
});

test('staging is emptied, links in it are not followed', async (t) => {
  const paths = await used(t);
  const kept = join(paths.state, 'kept');
  writeFileSync(kept, 'x');
  mkdirSync(join(paths.state, 'staging/12/deep'), { recursive: true });
  writeFileSync(join(paths.state, 'staging/12/deep/file'), 'x');
  const { symlinkSync } = await import('node:fs');
  symlinkSync(kept, join(paths.state, 'staging/link'));
  await clearStaging(paths.state);
  t.deepEqual(readdirSync(join(paths.state, 'staging')), []);
  t.is(readFileSync(kept, 'utf8'), 'x');
});

test('the state tree is 0700, the slots can be passed, one daemon holds the lock', async (t) => {
  const paths = await trees(t);
  const mode = (path: string) => statSync(path).mode & 0o7777;
  t.is(mode(paths.state), 0o700);
  for (const name of readdirSync(paths.state)) {
    const path = join(paths.state, name);
    t.is(mode(path) & 0o077, 0, name);
  }
  for (const open of ['slots', 'fast']) t.is(mode(join(paths.run, open)), 0o711);
  const second = await t.throwsAsync(lockState(paths));
  t.is((second as unknown as { code: string }).code, 'already-running');
  const otherRun = { ...paths, run: join(paths.run, 'other') };
  await t.throwsAsync(lockState(otherRun), undefined, 'another run folder is no way around');
});

test('what was only being written is removed after a crash, and nothing that merely looks like it', async (t) => {
  const { state } = await used(t);
  const unfinished = '.new-0123456789abcdef';
  const folders = readdirSync(join(state, 'slots')).flatMap((slot) => [
    `slots/${slot}/generations`,
    `slots/${slot}/uppers`,
  ]);
  const places = ['.', 'keys', 'keys/trusted', 'layers', 'personas', ...folders];
  t.true(places.length > 5);
  for (const place of places) {
    mkdirSync(join(state, place), { recursive: true });
    writeFileSync(join(state, place, unfinished), 'half a rec');
    writeFileSync(join(state, place, '.new-by-hand'), 'of a person');
  }
  mkdirSync(join(state, 'slots/lost+found'));
  writeFileSync(join(state, 'slots/file'), '');
  await clearAsides(state);
  for (const place of places) {
    const left = readdirSync(join(state, place));
    t.false(left.includes(unfinished), place);
    t.true(left.includes('.new-by-hand'), place);
  }
});
