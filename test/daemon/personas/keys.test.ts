import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { personaSource } from '../../../daemon/personas/activation.ts';
import { listKeys, planRevoke, planTrust } from '../../../daemon/personas/keys.ts';
import { planImport, planVerify } from '../../../daemon/personas/personas.ts';
import { keyIdOf, keyText, parsePublicKey, rawOf } from '../../../daemon/personas/public-key.ts';
import { proveChange } from '../../changes/proofs.ts';
import { confinedNeeds, when } from '../../support/needs.ts';
import { revoking, trusting } from '../../support/persona-subjects.ts';
import {
  changedTree,
  createPersona,
  exported,
  importBase,
  importPersona,
  named,
  openPersonaMachine,
  personaMachine,
  uploaded,
  writeBaseTree,
} from '../../support/personas.ts';
import { temporaryFolder } from '../../support/temp.ts';

const whenRoot = when(test, confinedNeeds);
const subjects = new URL('../../support/persona-subjects.ts', import.meta.url).href;

const somePem = () =>
  generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();

whenRoot('the machine key is made once, at the first start, for the daemon alone', async (t) => {
  const folder = temporaryFolder(t);
  const first = await openPersonaMachine(folder);
  const file = join(first.state, 'keys/machine.ed25519');
  t.is(statSync(file).mode & 0o7777, 0o400);
  t.is(statSync(join(first.state, 'keys')).mode & 0o7777, 0o700);
  t.deepEqual(readdirSync(join(first.state, 'keys')).sort(), ['machine.ed25519', 'trusted']);
  const [key] = listKeys(first.room);
  t.like(key, { state: 'own', id: first.room.machineKey.id, personas: [] });
  t.regex(key?.id ?? '', /^ed25519:[0-9a-f]{16}$/);
  await first.close();
  const second = await openPersonaMachine(folder);
  t.deepEqual(listKeys(second.room), [key]);
  await second.close();
});

test('public keys are read as PEM and as base64, and nothing else', (t) => {
  const pem = somePem();
  const raw = rawOf(createPublicKey(pem));
  t.deepEqual(parsePublicKey(pem), raw);
  t.deepEqual(parsePublicKey(` ${keyText(raw)}\n`), raw);
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const refusals = [
    '',
    'abc',
    keyText(raw).slice(1),
    keyText(Buffer.alloc(31)),
    pem.replace('PUBLIC', 'X'),
    other.export({ type: 'spki', format: 'pem' }).toString(),
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  ];
  for (const text of refusals) t.throws(() => parsePublicKey(text), { code: 'bad-value' }, text);
});

whenRoot('a key is trusted, revoked and trusted again', async (t) => {
  const { room, state, run } = await personaMachine(t);
  const pem = somePem();
  const id = keyIdOf(parsePublicKey(pem));
  const file = join(state, 'keys/trusted', `${id.replace(':', '-')}.pub`);
  const trusted = await run(planTrust(room, { publicKey: pem, comment: 'a friend' }, 0));
  t.like(trusted.result, { key: { id, state: 'trusted', comment: 'a friend' } });
  t.is(readFileSync(file, 'utf8'), pem);
  t.throws(() => planTrust(room, { publicKey: pem }, 0), { code: 'already-exists' });
  const revoked = await run(planRevoke(room, { key: id.slice('ed25519:'.length, -4) }, 0));
  t.like(revoked.result, { key: { id, state: 'revoked' } });
  t.false(existsSync(file));
  t.is((await run(planTrust(room, { publicKey: pem }, 0))).status, 'done');
  t.like(
    listKeys(room).find((key) => key.id === id),
    { state: 'trusted', comment: 'a friend' },
  );
  t.throws(() => planRevoke(room, { key: room.machineKey.id }, 0), { code: 'bad-value' });
  t.throws(() => planRevoke(room, { key: 'ed25519:00000000' }, 0), { code: 'key-not-found' });
});

whenRoot('a key that is revoked later stops the activation of what it signed', async (t) => {
  const author = await personaMachine(t);
  const tree = writeBaseTree(author.folder);
  await importBase(t, author, 'one', tree);
  const wanted = changedTree(tree, join(author.folder, 'wanted'), (path) => {
    writeFileSync(join(path, 'etc/motd'), 'the persona\n');
  });
  await createPersona(t, author, { name: 'work', base: 'one', tree: named(wanted) });
  const file = await exported(author, 'work');

  const user = await personaMachine(t);
  await importBase(t, user, 'one', writeBaseTree(user.folder));
  const key = author.room.machineKey;
  await user.run(planTrust(user.room, { publicKey: key.publicKey }, 0));
  await importPersona(t, user, file);
  const source = personaSource(user.room);
  const { layers } = await source.persona('work');
  for (const layer of layers) (await source.open(layer)).close();
  await user.run(planRevoke(user.room, { key: key.id }, 0));
  await t.throwsAsync(source.persona('work'), { code: 'key-revoked' });
  const verified = await user.run(planVerify(user.room, 'work', 1000));
  t.like(verified.result, { ok: false });
  const plan = planImport(user.room, { source: uploaded(user, file), name: 'again' }, 0);
  t.is((await user.run(plan)).error?.code, 'key-revoked');
  await user.run(planTrust(user.room, { publicKey: key.publicKey }, 0));
  t.is((await source.persona('work')).persona?.name, 'work');
});

const changes = { trusting, revoking };
for (const [name, subject] of Object.entries(changes)) {
  whenRoot(`proofs: ${name} a key`, async (t) => {
    t.timeout(300_000);
    await proveChange(t, subject, { module: subjects, name });
  });
}
