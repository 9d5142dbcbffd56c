import { inspect } from 'node:util';
import test from 'ava';
import { Secret } from '../../daemon/config/secret.ts';
import { openLog } from '../../daemon/log.ts';

function logged(journald: boolean, level = 'debug') {
  const lines: string[] = [];
  const log = openLog({ level, journald, write: (line) => lines.push(line) });
  return { log, lines };
}

test('lines carry the priority journald reads, and no time', (t) => {
  const { log, lines } = logged(true);
  log.debug({}, 'a');
  log.info({}, 'b');
  log.warn({}, 'c');
  log.error({}, 'd');
  t.deepEqual(
    lines.map((line) => line.slice(0, 3)),
    ['<7>', '<6>', '<4>', '<3>'],
  );
  t.deepEqual(JSON.parse(lines[1]!.slice(3)), { level: 'info', msg: 'b' });
});

test('without journald each line has its time', (t) => {
  const { log, lines } = logged(false, 'info');
  log.debug({}, 'not written');
  log.info({ changeId: 3 }, 'written');
  t.is(lines.length, 1);
  t.regex(JSON.parse(lines[0]!).time, /^\d{4}-\d\d-\d\dT/);
});

test('an error is logged with its whole chain of causes', (t) => {
  const { log, lines } = logged(true);
  const cause = Object.assign(new Error('inner'), { code: 'EIO' });
  log.error({ err: new Error('outer', { cause }) }, 'x');
  const { err } = JSON.parse(lines[0]!.slice(3));
  t.is(err.message, 'outer');
  t.like(err.cause, { message: 'inner', code: 'EIO' });
});

test('a control character in a field cannot forge a line', (t) => {
  const { log, lines } = logged(true);
  log.info({ name: 'a\n<2>forged' }, 'b\n<2>forged');
  t.is(lines[0]!.trimEnd().split('\n').length, 1);
});

test('nothing in a line moves a cursor or reorders text, and the line means what it meant', (t) => {
  const { log, lines } = logged(true);
  const name = 'a\u202eb\u009b2J\u2028\u{e0041}\u007f é';
  log.info({ name }, 'x');
  t.regex(lines[0]!, /^[\x20-\x7eé]*\n$/);
  t.is(JSON.parse(lines[0]!.slice(3)).name, name);
});

const canary = 'canary-3c1f9a';

test('a secret cannot be serialised, and no way of printing shows it', (t) => {
  const secret = new Secret(canary);
  t.is(secret.reveal(), canary);
  t.throws(() => JSON.stringify({ secret }), { message: /cannot be written down/ });
  t.throws(() => JSON.stringify([[secret]]));
  t.throws(() => structuredClone({ secret }, {}) && JSON.stringify(secret));
  const shown = [`${secret}`, String(secret), inspect(secret), inspect({ deep: { secret } })];
  t.false(shown.join(' ').includes(canary));
  t.deepEqual(Object.keys(secret), []);
});

test('the log hides secrets and what is called one', (t) => {
  const { log, lines } = logged(true);
  log.info({ a: new Secret(canary), b: [{ c: new Secret(canary) }], ticket: canary }, 'x');
  log.error({ err: new Error('x', { cause: { password: canary } }) }, 'y');
  log.info({ deep: { token: canary, privateKey: canary } }, 'z');
  t.false(lines.join('').includes(canary));
});
