import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { planTrust } from '../../../daemon/personas/keys.ts';
import { planVerify, showPersona } from '../../../daemon/personas/personas.ts';
import { rangeDigest } from '../../../daemon/personas/verified-range.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  importPersona,
  named,
  personaMachine,
  storeFacts,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';
import { builtTar } from '../../support/tar-builder.ts';

const whenRoot = when(test, confinedNeeds);

function changed(tree: string): void {
  writeFileSync(join(tree, 'etc/motd'), 'the persona\n');
  rmSync(join(tree, 'etc/gone'));
  symlinkSync('tool', join(tree, 'usr/bin/alias'));
  mkdirSync(join(tree, 'opt/new'), { recursive: true });
  writeFileSync(join(tree, 'opt/new/file'), 'new\n');
}

whenRoot('a persona made here goes to another machine and back', async (t) => {
  const here = await personaMachine(t);
  const tree = writeBaseTree(here.folder);
  const baseDigest = await importBase(t, here, 'one', tree);
  const wanted = changedTree(tree, join(here.folder, 'wanted'), changed);
  const seed = gzipSync(
    builtTar({ name: 'home/me/note', data: 'seed', mode: 0o600, uid: 1000, gid: 1000 }),
  );
  const config = JSON.stringify({ files: [{ path: '/etc/app.conf', content: 'a=1\n' }] });
  const made = await createPersona(t, here, {
    name: 'work',
    base: 'one',
    tree: named(wanted),
    seed: uploaded(here, seed),
    config: uploaded(here, Buffer.from(config)),
    description: 'For work',
    environment: { EDITOR: 'vi' },
  });
  t.false(made.rebuilt);
  t.is(made.persona.signature.state, 'own');
  t.is(made.persona.signature.origin, 'created');
  t.is(made.persona.base.digest, baseDigest);
  t.deepEqual(
    made.persona.layers.map(({ kind }) => kind),
    ['config', 'seed', 'diff', 'base'],
  );
  t.deepEqual(made.persona.environment, { EDITOR: 'vi' });
  for (const layer of here.room.book.persona('work').layers) {
    t.is(await rangeDigest(join(here.state, layer.file), layer.offset, layer.bytes), layer.digest);
    t.is(layer.offset % 4096, 0);
  }
  const file = await exported(here, 'work');
  t.is(
    `sha256:${createHash('sha256').update(file).digest('hex')}`,
    here.room.book.persona('work').fileDigest,
  );

  const there = await personaMachine(t);
  t.is(await importBase(t, there, 'copy', writeBaseTree(there.folder)), baseDigest);
  const stranger = await importPersona(t, there, file);
  t.true(stranger.rebuilt, 'nobody there trusts the key');
  t.is(stranger.persona.signature.state, 'own');
  t.is(stranger.persona.signature.origin, 'rebuilt');
  t.is(stranger.persona.originDigest, `sha256:${createHash('sha256').update(file).digest('hex')}`);
  t.not(stranger.persona.digest, made.persona.digest);
  t.deepEqual(
    stranger.persona.layers.map(({ kind, digest }) => ({ kind, digest })),
    made.persona.layers.map(({ kind, digest }) => ({ kind, digest })),
    'the same content gives the same images, whoever writes them',
  );
  t.deepEqual(await exported(there, 'work', true), file, 'the original bytes are kept');
  const again = await importPersona(t, there, file);
  t.true(again.existed);

  const trusted = await there.run(
    planTrust(there.room, { publicKey: here.room.machineKey.publicKey }, 0),
  );
  t.is(trusted.status, 'done');
  const direct = await importPersona(t, there, file, { name: 'direct' });
  t.false(direct.rebuilt);
  t.is(direct.persona.signature.state, 'trusted');
  t.is(direct.persona.digest, made.persona.digest);
  t.is(direct.persona.originDigest, undefined);
  t.deepEqual(await exported(there, 'direct'), file, 'kept as it came');
  const diff = there.room.book.persona('direct').layers.find(({ kind }) => kind === 'diff');
  t.regex(diff?.file ?? '', /\.osp$/, 'mounted where it lies in its file');

  const verified = await there.run(planVerify(there.room, 'direct', 0));
  t.true((verified.result as { ok: boolean }).ok, JSON.stringify(verified));
  t.is((await showPersona(there.room, made.persona.digest, 0)).name, 'direct');
});

whenRoot('a tree is taken from a tar, plain and packed, as from a folder', async (t) => {
  const here = await personaMachine(t);
  const tree = writeBaseTree(here.folder);
  await importBase(t, here, 'one', tree);
  const wanted = changedTree(tree, join(here.folder, 'wanted'), changed);
  const expected = await createPersona(t, here, {
    name: 'folder',
    base: 'one',
    tree: named(wanted),
  });
  const diffOf = (answer: typeof expected) =>
    answer.persona.layers.find(({ kind }) => kind === 'diff')?.digest;
  const tar = join(here.folder, 'wanted.tar');
  execFileSync('tar', ['--numeric-owner', '--xattrs', '-C', wanted, '-cf', tar, '.']);
  execFileSync('gzip', ['-k', tar]);
  for (const [name, path] of [
    ['tar', tar],
    ['gzip', `${tar}.gz`],
  ] as const) {
    const made = await createPersona(
      t,
      here,
      { name, base: 'one', tree: uploaded(here, path) },
      1000,
    );
    t.is(diffOf(made), diffOf(expected), name);
  }
  t.deepEqual(
    ((await storeFacts(here)) as unknown as { files: { staging: string[] } }).files.staging,
    [],
    'nothing stays in staging',
  );
});

whenRoot('equal seeds share a layer within one domain of trust, and not across', async (t) => {
  const here = await personaMachine(t);
  const tree = writeBaseTree(here.folder);
  await importBase(t, here, 'one', tree);
  const wanted = changedTree(tree, join(here.folder, 'wanted'), changed);
  const seed = gzipSync(builtTar({ name: 'root/note', data: 'seed', mode: 0o600 }));
  const make = (name: string) =>
    createPersona(t, here, { name, base: 'one', tree: named(wanted), seed: uploaded(here, seed) });
  await make('a');
  await make('b');
  const inputs = async () =>
    (await here.store.all("SELECT input FROM layers WHERE kind = 'seed'")).length;
  t.is(await inputs(), 1);
  const [a, b] = ['a', 'b'].map((name) => here.room.book.persona(name));
  t.is(a?.layers[0]?.digest, b?.layers[0]?.digest);
  t.is(readFileSync(join(here.state, a?.layers[0]?.file ?? '')).length % 4096, 0);
});
