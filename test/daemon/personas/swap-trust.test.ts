import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { pathsOf } from '../../../daemon/config/paths.ts';
import { personaSource } from '../../../daemon/personas/activation.ts';
import { planRemove } from '../../../daemon/personas/persona-rm.ts';
import { insertPersona } from '../../../daemon/personas/persona-rows.ts';
import { partner, scratchFolder } from '../../support/mount-scratch.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  named,
  personaMachine,
  writeBaseTree,
} from '../../support/personas.ts';
import { mustDo, rootRequest, startSilent, stoppable } from '../../support/silent-daemon.ts';

const rooted = when(test, confinedNeeds);

rooted('a key that is revoked while a swap waits stops that swap', async (t) => {
  const author = await personaMachine(t);
  const tree = writeBaseTree(author.folder);
  await importBase(t, author, 'one', tree);
  const wanted = changedTree(tree, join(author.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, author, { name: 'theirs', base: 'one', tree: named(wanted) });
  const file = join(author.folder, 'theirs.osp');
  writeFileSync(file, await exported(author, 'theirs'));

  const root = scratchFolder(t);
  const daemon = await startSilent(root);
  stoppable(t, daemon);
  const { publicKey, id } = author.room.machineKey;
  const source = (path: string) => ({ kind: 'path' as const, path });
  const base = { name: 'one', source: source(tree) };
  await mustDo(daemon, (m) => m['base.import'](base, rootRequest));
  await mustDo(daemon, (m) => m['key.trust']({ publicKey }, rootRequest));
  await mustDo(daemon, (m) => m['persona.import']({ source: source(file) }, rootRequest));
  await mustDo(daemon, (m) => m['slot.create']({ name: 'work' }, rootRequest));
  const swap = { slot: 'work', persona: 'theirs' };
  await mustDo(daemon, (m) => m['slot.swap'](swap, rootRequest));
  await mustDo(daemon, (m) => m['slot.rollback']({ slot: 'work', base: true }, rootRequest));

  const shown = join(pathsOf(root).run, 'slots/work/root');
  const inside = partner(t, 'sh', '-c', 'cd "$1"; echo ready; read w', 'sh', shown);
  await inside.line();
  const { engine, rooms } = daemon;
  const asked = { ...swap, busy: 'wait' as const };
  const { plan } = await rooms.methods(engine)['slot.swap'](asked, rootRequest);
  const { changeId, done } = await engine.submit(plan);
  const waits = Promise.withResolvers<void>();
  const stop = await engine.follow(changeId, ({ progress }) => {
    if (progress !== undefined) waits.resolve();
  });
  await waits.promise;
  stop();
  await mustDo(daemon, (m) => m['key.revoke']({ key: id }, rootRequest));
  inside.say('bye');
  t.like(await done, { status: 'failed', error: { code: 'key-revoked' } });
  t.is(readFileSync(join(shown, 'etc/motd'), 'utf8'), 'the base\n');
});

rooted('what was chosen by digest is the one of its twins that is trusted', async (t) => {
  const author = await personaMachine(t);
  const tree = writeBaseTree(author.folder);
  await importBase(t, author, 'one', tree);
  const wanted = changedTree(tree, join(author.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, author, { name: 'good', base: 'one', tree: named(wanted) });
  const { room, store } = author;
  const good = room.book.persona('good');
  // The same, under a name that comes before, with a signature of a key that nobody knows.
  const signature = { ...good.signature!, key_id: 'ed25519:unknown' };
  await store.commit((tx) => insertPersona(tx, { ...good, name: 'again', signature }, 1));
  await room.book.load();
  t.is(room.book.persona(good.digest).name, 'again');
  const source = personaSource(room);
  t.is((await source.persona(good.digest)).persona?.name, 'good');
  await t.throwsAsync(source.persona('again'), { code: 'not-trusted' });

  await store.commit((tx) => {
    tx.run("INSERT INTO slots (name, owner, current, created) VALUES ('desk', 0, 1, 1)");
    tx.run(
      `INSERT INTO generations (slot, number, persona, persona_digest, upper, result, created)
       VALUES ('desk', 1, 'good', ?, 'u', 'good', 1)`,
      good.digest,
    );
  });
  const error = await t.throwsAsync(planRemove(room, 'good', 0), { code: 'in-use' });
  t.regex(error?.message ?? '', /slot desk/, 'the other name does not stand for it');
  t.is((await author.run(planRemove(room, 'again', 0))).status, 'done');
  t.is((await source.persona(good.digest)).persona?.name, 'good');
});
