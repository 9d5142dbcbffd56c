import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { personaMethods } from '../../../daemon/compose/personas.ts';
import { mountErofs } from '../../../daemon/kernel/erofs.ts';
import type { Fd } from '../../../daemon/kernel/fd.ts';
import { personaSource } from '../../../daemon/personas/activation.ts';
import { planBaseImport } from '../../../daemon/personas/base-import.ts';
import { readBase } from '../../../daemon/personas/bases.ts';
import { insertPersona } from '../../../daemon/personas/persona-rows.ts';
import {
  diffPersonas,
  exportPersona,
  listPersonas,
  planCreate,
  planImport,
  planRemove,
  planVerify,
} from '../../../daemon/personas/personas.ts';
import { wireLimits } from '../../../ipc/protocol.ts';
import { plain } from '../../changes/machine.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { builtOsp } from '../../support/osp-builder.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  importPersona,
  named,
  openPersonaMachine,
  type PersonaMachine,
  personaMachine,
  storeFacts,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';
import { rootRequest } from '../../support/silent-daemon.ts';
import { builtTar } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';

const whenRoot = when(test, confinedNeeds);

interface Ground {
  machine: PersonaMachine;
  tree: string;
  wanted: string;
  base: string;
}

async function ground(t: ExecutionContext): Promise<Ground> {
  const machine = await personaMachine(t);
  const tree = writeBaseTree(machine.folder);
  const base = await importBase(t, machine, 'one', tree);
  const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
    rmSync(join(path, 'etc/gone'));
    mkdirSync(join(path, 'opt'));
  });
  return { machine, tree, wanted, base };
}

const seed = gzipSync(builtTar({ name: 'root/note', data: 'seed', mode: 0o600 }));

whenRoot('the layers of a persona are mounted where they lie in their files', async (t) => {
  const { machine, wanted } = await ground(t);
  await createPersona(t, machine, {
    name: 'work',
    base: 'one',
    tree: named(wanted),
    seed: uploaded(machine, seed),
    environment: { EDITOR: 'vi' },
  });
  const source = personaSource(machine.room);
  const mounts: Record<string, Fd> = {};
  t.teardown(async () => {
    for (const mount of Object.values(mounts)) await mount.closeLater();
  });
  for (const layer of (await source.persona('work')).layers) {
    const file = await source.open(layer);
    const { kind, offset, size } = layer;
    mounts[kind] = await mountErofs({ file, offset, size }, 'loop');
    file.close();
  }
  const read = (kind: string, path: string) =>
    readFileSync(join(mounts[kind]?.path ?? '', path), 'utf8');
  t.is(read('diff', 'etc/motd'), 'the persona\n');
  t.is(read('seed', 'root/note'), 'seed');
  t.regex(read('config', 'etc/environment.d/90-persona.conf'), /EDITOR="vi"/);
  const gone = statSync(join(mounts.diff?.path ?? '', 'etc/gone'));
  t.true(gone.isCharacterDevice() && gone.rdev === 0, 'what was removed is marked');
  const mode = (kind: string, path: string) =>
    (statSync(join(mounts[kind]?.path ?? '', path)).mode & 0o7777).toString(8);
  t.is(mode('seed', 'root'), '700', 'a folder that was there keeps its look');
  t.is(mode('config', 'etc'), '755');
});

whenRoot('layers are not shared across domains of trust', async (t) => {
  const { machine, wanted, base } = await ground(t);
  await createPersona(t, machine, {
    name: 'mine',
    base: 'one',
    tree: named(wanted),
    seed: uploaded(machine, seed),
  });
  const image = machine.room.book.persona('mine').layers.find(({ kind }) => kind === 'diff');
  const { offset = 0, bytes = 0, file = '' } = image ?? {};
  const range = readFileSync(join(machine.state, file)).subarray(offset, offset + bytes);
  const asked: string[] = [];
  const { store } = machine.room;
  const get = store.get.bind(store);
  store.get = async (sql, ...values) => {
    const row = await get(sql, ...values);
    if (/FROM layers WHERE kind = \? AND input/.test(sql))
      asked.push(row === undefined ? 'miss' : 'hit');
    return row as never;
  };
  const metadata = (name: string) => (value: Record<string, unknown>) => ({
    ...value,
    name,
    base_digest: base,
  });
  const foreign = (name: string) => builtOsp({ diff: range, seed, metadata: metadata(name) });
  await importPersona(t, machine, foreign('theirs'), { uid: 1000 });
  t.deepEqual(asked, ['miss'], 'the same bytes from a stranger do not use the layer of our own');
  await createPersona(t, machine, {
    name: 'second',
    base: 'one',
    tree: named(wanted),
    seed: uploaded(machine, seed),
  });
  t.deepEqual(asked, ['miss', 'hit']);
  await importPersona(t, machine, foreign('others'), { uid: 1001 });
  t.deepEqual(asked, ['miss', 'hit', 'miss'], 'nor does another user');
});

whenRoot('what the client does to its file after the import began changes nothing', async (t) => {
  const { machine, wanted } = await ground(t);
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const bytes = await exported(machine, 'work');
  await machine.run(planRemove(machine.room, 'work', 0));
  const path = join(machine.folder, 'mine.osp');
  writeFileSync(path, bytes);
  const plan = planImport(machine.room, { source: named(path) }, 0);
  const { changeId, done } = await machine.engine.submit(plan);
  let rewrites = 0;
  // Written into the same inode again and again while the change runs.
  const stop = await machine.engine.follow(changeId, ({ task }) => {
    if (task === undefined || task.index === 0) return;
    rewrites += 1;
    writeFileSync(path, Buffer.alloc(bytes.length, rewrites));
  });
  const result = await done;
  stop();
  t.is(result.status, 'done', JSON.stringify(result.error));
  t.true(rewrites > 0);
  t.deepEqual(await exported(machine, 'work'), bytes);
  const verified = await machine.run(planVerify(machine.room, 'work', 0));
  t.like(verified.result, { ok: true });
});

whenRoot('a layer whose file was changed behind the daemon is found', async (t) => {
  const { machine, wanted } = await ground(t);
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const source = personaSource(machine.room);
  const [diff] = (await source.persona('work')).layers;
  if (diff === undefined) return t.fail();
  (await source.open(diff)).close();
  const file = join(machine.state, diff.file);
  const bytes = readFileSync(file);
  const at = diff.offset + 1100;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  await t.throwsAsync(source.open(diff), { code: 'state-damaged' });
  const verified = await machine.run(planVerify(machine.room, 'work', 0));
  const { ok, checks } = verified.result as {
    ok: boolean;
    checks: { what: string; ok: boolean }[];
  };
  t.false(ok);
  t.deepEqual(
    checks.filter((check) => !check.ok).map(({ what }) => what),
    ['the persona file', 'the members', 'the diff layer'],
  );
  execFileSync('chmod', ['0666', file]);
  await t.throwsAsync(source.open(diff), { code: 'state-damaged' });
  rmSync(file);
  await t.throwsAsync(source.open(diff), { code: 'state-damaged' });
});

whenRoot('differences are told by pages, and against the base', async (t) => {
  const { machine, wanted, tree } = await ground(t);
  await createPersona(t, machine, { name: 'a', base: 'one', tree: named(wanted) });
  const other = changedTree(tree, join(machine.folder, 'other'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'another\n');
    mkdirSync(join(path, 'srv'));
    for (let i = 0; i < 5; i += 1) writeFileSync(join(path, `srv/${i}`), 'x'.repeat(i));
  });
  await createPersona(t, machine, { name: 'b', base: 'one', tree: named(other) });
  const kept = new Map();
  const { differences, totals, more } = await diffPersonas(machine.room, kept, {
    from: 'one',
    to: 'a',
  });
  t.deepEqual(
    differences.map(({ op, path }) => `${op} ${path}`),
    ['removed /etc/gone', 'changed /etc/motd', 'added /opt'],
  );
  t.false(more);
  t.deepEqual(totals, { added: 1, removed: 1, changed: 1, bytesAdded: 3, bytesRemoved: 14 });
  const all = await diffPersonas(machine.room, kept, { from: 'a', to: 'b' });
  t.deepEqual(all.differences.map(({ path }) => path).slice(0, 3), [
    '/etc/gone',
    '/etc/motd',
    '/opt',
  ]);
  const paged: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await diffPersonas(machine.room, kept, { from: 'a', to: 'b', limit: 2, after });
    paged.push(...page.differences.map(({ path }) => path));
    if (!page.more) break;
    after = page.differences.at(-1)?.path;
  }
  t.deepEqual(
    paged,
    all.differences.map(({ path }) => path),
  );
  const under = await diffPersonas(machine.room, kept, { from: 'a', to: 'b', under: '/srv' });
  t.is(under.totals.added, 6);
  await t.throwsAsync(diffPersonas(machine.room, kept, { from: 'a', to: 'none' }), {
    code: 'persona-not-found',
  });
});

whenRoot(
  'removing gives everything back, and is refused while a slot needs the persona',
  async (t) => {
    const { machine, wanted } = await ground(t);
    const before = await storeFacts(machine);
    const make = { name: 'work', base: 'one', tree: named(wanted) };
    await createPersona(t, machine, { ...make, seed: uploaded(machine, seed) });
    const { digest } = machine.room.book.persona('work');
    await machine.store.commit((tx) => {
      tx.run("INSERT INTO slots (name, owner, current, created) VALUES ('desk', 0, 1, 1)");
      tx.run(
        `INSERT INTO generations (slot, number, persona, persona_digest, upper, result, created)
       VALUES ('desk', 1, 'work', ?, 'u', 'good', 1)`,
        digest,
      );
    });
    const error = await t.throwsAsync(planRemove(machine.room, 'work', 0), { code: 'in-use' });
    t.regex(error?.message ?? '', /slot desk/);
    t.deepEqual((await listPersonas(machine.room, 0))[0]?.usedBy, { slots: ['desk'] });
    // Whose slot it is not, is not told of it.
    t.deepEqual((await listPersonas(machine.room, 1234))[0]?.usedBy, { slots: [] });
    await machine.store.commit((tx) => tx.run('DELETE FROM generations'));
    const fetched = exportPersona(machine.room, { persona: 'work' });
    const removed = await machine.run(planRemove(machine.room, 'work', 0));
    t.like(removed.result, { name: 'work', digest });
    t.true((removed.result as { freedBytes: number }).freedBytes > 0);
    t.deepEqual(await storeFacts(machine), before);
    await t.throwsAsync(async () => await fetched.open(), { code: 'ENOENT' });
    await t.throwsAsync(planRemove(machine.room, 'work', 0), { code: 'persona-not-found' });
  },
);

whenRoot('who imports what is here already is told of no slot of others', async (t) => {
  const { machine, tree, wanted, base } = await ground(t);
  const { room, store, engine, run } = machine;
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const file = await exported(machine, 'work');
  const { digest } = room.book.persona('work');
  const [owner, other] = [1000, 1001];
  await store.commit((tx) => {
    tx.run(
      "INSERT INTO slots (name, owner, current, created) VALUES ('canary-slot', ?, 1, 1)",
      owner,
    );
    tx.run(
      `INSERT INTO generations (slot, number, persona, persona_digest, base_digest, upper, result, created)
       VALUES ('canary-slot', 1, 'work', ?, ?, 'u', 'good', 1)`,
      digest,
      base,
    );
  });
  const methods = personaMethods(room);
  // What the API does with it: the change runs, the answer is made of what it gave.
  const toldTo = async (uid: number) => {
    const caller = { ...rootRequest.caller, uid, gid: uid };
    const request = { ...rootRequest, caller, level: 'group' as const };
    const source = { kind: 'path' as const, path: tree };
    const asked = {
      ...request,
      input: () => ({ ...uploaded(machine, file), bytes: file.length }),
    };
    const name = `one-of-${uid}`;
    const imports = [
      await methods['persona.import']({ source }, asked),
      await methods['base.import'](
        { name, source },
        { ...request, input: () => ({ ...named(tree), bytes: undefined }) },
      ),
    ];
    const told: unknown[] = [];
    for (const { plan, answer } of imports) {
      const { changeId, status, result } = await run(plan);
      t.is(status, 'done');
      told.push(await answer?.(result), await engine.show(changeId));
    }
    return JSON.stringify(told);
  };
  t.false((await toldTo(other)).includes('canary-slot'));
  t.true((await toldTo(owner)).includes('canary-slot'));
  const refusal = async (uid: number) =>
    String(await t.throwsAsync(planRemove(room, 'work', uid), { code: 'in-use' }));
  t.regex(await refusal(other), /used by a slot of another user$/);
  t.regex(await refusal(owner), /used by slot canary-slot$/);
});

whenRoot('a list of any length comes in replies that can be sent', async (t) => {
  const { machine, wanted } = await ground(t);
  const { room, store } = machine;
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const persona = room.book.persona('work');
  const names = Array.from({ length: 40 }, (_, at) => `p${String(at).padStart(2, '0')}`);
  // From before variables had a limit together.
  const environment = Object.fromEntries(names.slice(0, 8).map((v) => [v, 'x'.repeat(31_000)]));
  await store.commit((tx) => {
    for (const name of names) insertPersona(tx, { ...persona, name, environment }, 1);
  });
  await room.book.load();
  const methods = personaMethods(room);
  const listed: string[] = [];
  for (let last: string | undefined, more: boolean | undefined = true; more; last = listed.at(-1)) {
    const answer = await methods['persona.list']({ after: last }, rootRequest);
    t.true(Buffer.byteLength(JSON.stringify(answer)) < wireLimits.replyBytesMax);
    listed.push(...answer.personas.map(({ name }) => name));
    more = answer.more;
  }
  t.deepEqual(listed, [...names, 'work']);
});

whenRoot('a user has so many bases and personas, and so many bytes of them', async (t) => {
  const { machine, tree, wanted } = await ground(t);
  const { room, run } = machine;
  // 100 000 and above are subordinate ids of 1000.
  const accountOf = (uid: number) => (uid >= 100_000 ? 1000 : uid);
  const share = { count: 2, bytes: Number.MAX_SAFE_INTEGER, accountOf };
  room.share = share;
  const make = (name: string) => ({ name, base: 'one', tree: named(wanted) });
  await createPersona(t, machine, make('first'), 1000);
  const source = { kind: 'path' as const, path: tree };
  t.is((await run(planBaseImport(room, { name: 'second', source }, 100_000))).status, 'done');
  const full = { code: 'limit-exceeded' };
  await t.throwsAsync(planCreate(room, make('third'), 100_001), full);
  await t.throwsAsync(planBaseImport(room, { name: 'third', source }, 1000), full);
  const file = await exported(machine, 'first');
  const importAs = (name: string, uid: number) =>
    run(planImport(room, { source: uploaded(machine, file), name }, uid));
  t.like((await importAs('third', 1000)).error, full);
  t.is((await importAs('first', 1000)).status, 'done', 'what is here takes nothing');
  t.is((await importAs('of-root', 0)).status, 'done');
  t.is((await run(planRemove(room, 'first', 1000))).status, 'done');
  const before = await storeFacts(machine);
  // Too large is found when the size is known: nothing is left then.
  room.share = { ...share, bytes: (await readBase(room.store, 'second')).bytes + 100 };
  for (const result of [
    await run(planCreate(room, make('third'), 1000)),
    await run(planBaseImport(room, { name: 'third', source }, 1000)),
  ])
    t.regex(result.error?.message ?? '', /size of your bases and personas/);
  t.deepEqual(await storeFacts(machine), before);
  room.share = share;
  t.is((await importAs('third', 1000)).status, 'done', 'the place was given back');
  // Ids that are subordinate to root are users like others.
  room.share = { ...share, count: 1, accountOf: (uid) => (uid >= 1_000_000 ? 0 : uid) };
  const asOf = async (uid: number) =>
    await run(planBaseImport(room, { name: `of-${uid}`, source }, uid));
  t.is((await asOf(1_000_001)).status, 'done', 'what is of root counts for root');
  await t.throwsAsync(planBaseImport(room, { name: 'fourth', source }, 1_000_002), full);
  t.is((await asOf(0)).status, 'done');
});

for (const [point, kind] of [
  ['bases.commit:before-adopt', 'base'],
  ['placed', 'persona'],
] as const)
  whenRoot(`changes at the same time do not pass the share of a user: ${kind}`, async (t) => {
    let meet = async () => {};
    const faults = {
      at: async (at: string) => (at.endsWith(`:${point}`) ? await meet() : undefined),
    };
    const machine = await openPersonaMachine(temporaryFolder(t), { ...plain, faults });
    await machine.engine.recover();
    t.teardown(() => machine.close());
    const { room, run } = machine;
    const tree = writeBaseTree(machine.folder);
    await importBase(t, machine, 'one', tree);
    const wanted = changedTree(tree, join(machine.folder, 'wanted'), (path) =>
      writeFileSync(join(path, 'etc/motd'), 'the persona\n'),
    );
    room.share = { ...room.share, count: 1 };
    const change = (name: string) =>
      run(
        kind === 'base'
          ? planBaseImport(room, { name, source: { kind: 'path', path: tree } }, 1000)
          : planCreate(
              room,
              { name, base: 'one', tree: named(wanted), environment: { NAME: name } },
              1000,
            ),
      );
    // The first that comes so far waits for the other, which ends, or comes as far.
    const both = Promise.withResolvers<void>();
    let here = 0;
    meet = async () => {
      here += 1;
      if (here === 2) both.resolve();
      await both.promise;
    };
    const results = await Promise.all(
      ['first', 'second'].map((name) => change(name).finally(both.resolve)),
    );
    t.deepEqual(results.map(({ status }) => status).sort(), ['done', 'failed']);
    t.is(results.find(({ status }) => status === 'failed')?.error?.code, 'limit-exceeded');
    t.is(here, 1);
    t.is(room.coming.size, 0);
  });

whenRoot('a removal that waited leaves the persona that has come to its name since', async (t) => {
  const { machine, wanted } = await ground(t);
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const bytes = await exported(machine, 'work');
  await importPersona(t, machine, bytes, { name: 'twin' });
  const plan = await planRemove(machine.room, 'twin', 0);
  await machine.run(planRemove(machine.room, 'twin', 0));
  await importPersona(t, machine, bytes, { name: 'twin', uid: 1000 });
  t.is((await machine.run(plan)).error?.code, 'persona-not-found');
  t.is(machine.room.book.persona('twin').owner, 1000);
  t.deepEqual(await exported(machine, 'twin'), bytes);
});

whenRoot('two names for one persona share its file until the last is removed', async (t) => {
  const { machine, wanted } = await ground(t);
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const bytes = await exported(machine, 'work');
  await importPersona(t, machine, bytes, { name: 'twin' });
  await machine.run(planRemove(machine.room, 'work', 0));
  t.deepEqual(await exported(machine, 'twin'), bytes);
  await machine.run(planRemove(machine.room, 'twin', 0));
  t.deepEqual(readdirSync(join(machine.state, 'personas')), []);
});

/** The members of a persona file in a tar of the usual kind, in another order. */
function repacked(folder: string, bytes: Buffer, order: (names: string[]) => string[]): Buffer {
  const file = join(folder, 'work.osp');
  const parts = join(folder, 'parts');
  mkdirSync(parts);
  writeFileSync(file, bytes);
  execFileSync('tar', ['-C', parts, '-xf', file]);
  execFileSync('tar', ['-C', parts, '-cf', file, ...order(readdirSync(parts).sort())]);
  return readFileSync(file);
}

whenRoot('a signed file that is not aligned is moved, and keeps its identity', async (t) => {
  const { machine, wanted } = await ground(t);
  const made = await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const ours = await exported(machine, 'work');
  const plain = repacked(machine.folder, ours, (names) => names);
  await machine.run(planRemove(machine.room, 'work', 0));
  const answer = await importPersona(t, machine, plain, { name: 'moved' });
  t.false(answer.rebuilt);
  t.is(answer.persona.digest, made.persona.digest);
  t.true((await exported(machine, 'moved', true)).equals(plain));
  t.true((await exported(machine, 'moved')).equals(ours));
});

whenRoot('another layout of the same file does not replace the one that is there', async (t) => {
  const { machine, wanted } = await ground(t);
  await createPersona(t, machine, { name: 'work', base: 'one', tree: named(wanted) });
  const ours = await exported(machine, 'work');
  // In this order the image comes to lie on a page too, but on another one.
  const other = repacked(machine.folder, ours, (names) => names.reverse());
  await importPersona(t, machine, other, { name: 'twin' });
  t.true((await exported(machine, 'work')).equals(ours));
  for (const name of ['work', 'twin']) {
    const verified = await machine.run(planVerify(machine.room, name, 0));
    t.like(verified.result, { ok: true }, name);
  }
});

whenRoot('a plan is the same dry, and a failing change leaves no upload behind', async (t) => {
  const { machine, wanted } = await ground(t);
  const before = await storeFacts(machine);
  const tree = named(wanted);
  const plan = await planCreate(machine.room, { name: 'work', base: 'one', tree }, 0);
  const dry = machine.engine.dryRun(plan);
  t.deepEqual(
    dry.tasks.map(({ kind, params }) => ({ kind, params })),
    plan.tasks as never,
  );
  t.true(dry.needs.bytes > 0);
  t.deepEqual(await storeFacts(machine), before, 'nothing was done');
  const bad = uploaded(machine, Buffer.alloc(5000, 'x'));
  const result = await machine.run(
    planCreate(machine.room, { name: 'work', base: 'one', tree: bad }, 1000),
  );
  t.is(result.status, 'failed');
  t.deepEqual(await storeFacts(machine), before);
});

whenRoot('changes that want the same name or the same file do not harm each other', async (t) => {
  const { machine, wanted } = await ground(t);
  const make = { name: 'work', base: 'one', tree: named(wanted) };
  const plans = [await planCreate(machine.room, make, 0), await planCreate(machine.room, make, 0)];
  const ends = await Promise.all(plans.map((plan) => machine.run(plan)));
  t.deepEqual(ends.map(({ status, error }) => error?.code ?? status).sort(), [
    'already-exists',
    'done',
  ]);
  const bytes = await exported(machine, 'work');
  await machine.run(planRemove(machine.room, 'work', 0));
  const imports = ['a', 'b', 'c'].map((name) =>
    machine.run(planImport(machine.room, { source: uploaded(machine, bytes), name }, 0)),
  );
  const results = await Promise.all(imports);
  const done = results.filter(({ status }) => status === 'done').length;
  t.true(done >= 1);
  for (const { error } of results) t.true([undefined, 'change-conflict'].includes(error?.code));
  for (const { name } of await listPersonas(machine.room, 0)) {
    t.true((await exported(machine, name)).equals(bytes), name);
    await machine.run(planRemove(machine.room, name, 0));
  }
  t.deepEqual(readdirSync(join(machine.state, 'personas')), []);
  t.deepEqual(readdirSync(join(machine.state, 'staging')), []);
});
