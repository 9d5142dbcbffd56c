import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PersonaError } from '../../ipc/errors.ts';
import type { KeyPage } from '../../ipc/methods/shapes.ts';
import { keyIdPattern } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { columns } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';
import type { Style } from '../print/style.ts';
import { ago } from '../print/time.ts';

const titles = ['KEY', 'STATE', 'ADDED', 'COMMENT', 'SIGNED'].map((title) => ({ title }));
/** A public key is far smaller. */
const keyBytesMax = 1024;

function state({ state: word }: KeyPage, style: Style): Safe {
  const paint = { own: style.green, trusted: style.green, revoked: style.red }[word];
  return paint(word === 'own' ? 'of this machine' : word);
}

/** `personactl key list` */
export async function list(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('key.list', {});
  call.out.result(answer, () =>
    columns(
      titles,
      answer.keys.map((key) => [
        call.out.style.bold(key.id),
        state(key, call.out.style),
        ago(key.addedMs, call.io.now()),
        key.comment ?? '',
        key.personas.join(', '),
      ]),
      call.out.style,
    ),
  );
}

/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410). */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/** `personactl key export` */
export async function exportKey(call: Call): Promise<undefined> {
  const wanted = call.given('KEY');
  if (wanted !== undefined) checkId(wanted);
  const client = await call.client();
  const { keys } = await client.call('key.list', {});
  const key = keys.find(({ id, state }) =>
    wanted === undefined ? state === 'own' : id === wanted,
  );
  if (key === undefined)
    throw new PersonaError('key-not-found', { key: wanted ?? 'of this machine' });
  const spki = Buffer.concat([spkiPrefix, Buffer.from(key.publicKey, 'base64')]);
  call.out.result({ key }, () => [
    say`-----BEGIN PUBLIC KEY-----`,
    say`${spki.toString('base64')}`,
    say`-----END PUBLIC KEY-----`,
  ]);
}

/** `personactl key trust` */
export async function trust(call: Call): Promise<number | undefined> {
  const path = resolve(call.io.cwd(), call.operand('FILE'));
  const publicKey = (await readFile(path, 'utf8')).trim();
  if (publicKey.length > keyBytesMax || publicKey === '')
    throw new PersonaError('bad-value', { name: path, reason: 'not a public key' });
  const comment = call.text('comment');
  const params = { publicKey, ...(comment !== undefined && { comment }) };
  return runChange(call, 'key.trust', params, (outcome) => {
    const { key } = outcome.result;
    call.out.done(outcome, () => [say`Key ${key.id} is trusted on this machine.`]);
    return undefined;
  });
}

/** `personactl key revoke` */
export async function revoke(call: Call): Promise<number | undefined> {
  const wanted = call.operand('KEY');
  checkId(wanted);
  return runChange(call, 'key.revoke', { key: wanted }, (outcome) => {
    const { key } = outcome.result;
    const signed =
      key.personas.length > 0 ? `: ${key.personas.join(', ')} cannot be activated any more` : '';
    call.out.done(outcome, () => [say`Key ${key.id} is revoked${signed}.`]);
    return undefined;
  });
}

function checkId(wanted: string): void {
  if (!keyIdPattern.test(wanted))
    throw new PersonaError('bad-value', {
      name: JSON.stringify(wanted),
      reason: 'not the id of a key; `personactl key list` shows those that there are',
    });
}
