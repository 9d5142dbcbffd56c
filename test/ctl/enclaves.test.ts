import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { PersonaError } from '../../ipc/errors.ts';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import { fakeDaemon } from './fake-daemon.ts';
import { closedEnclave, enclave } from './samples.ts';
import { personactl } from './tool.ts';

const ticket = 'ab'.repeat(16);

async function served(t: ExecutionContext) {
  const daemon = await fakeDaemon(t, {
    'bulk.open': () => ({ ticket, bytesMax: 4096, expiresMs: 1 }),
    'enclave.create': ({ dryRun }) =>
      dryRun === true
        ? {
            plan: {
              kind: 'enclave.create',
              summary: 'x',
              holds: [],
              tasks: [],
              needs: { bytes: 1 },
            },
          }
        : { changeId: 1, result: { enclave: closedEnclave } },
    'enclave.open': () => ({ changeId: 2, result: { enclave } }),
    'enclave.close': () => ({ changeId: 3, result: { enclave: 'vault', held: true } }),
    'enclave.recovery': () => ({ changeId: 6, result: { enclave: closedEnclave } }),
    'enclave.passwd': () => ({ changeId: 5, result: { enclave: closedEnclave } }),
    'enclave.rm': () => ({ changeId: 4, result: { enclave: 'vault', freedBytes: 16_777_216 } }),
  });
  daemon.uploads.set(ticket, Buffer.alloc(0));
  return daemon;
}

test('a passphrase travels beside the messages, and a key file does', async (t) => {
  const { root, calls, uploads } = await served(t);
  const made = await personactl(
    { root, typed: ['canary'] },
    ...['enclave', 'create', 'tax', '--size', '16M'],
  );
  t.is(made.status, 0, made.err);
  t.regex(made.out, /tax is there, 16 MiB, closed/);
  t.is(uploads.get(ticket)?.toString(), 'canary');
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'key'), 'canary\n2');
  const opened = await personactl(
    { root, cwd: folder },
    ...['enclave', 'open', 'vault', '--key-file', 'key', '--idle', '600'],
  );
  t.regex(opened.out, /vault is open: \/run\/persona\/enclaves\/vault/);
  t.is(uploads.get(ticket)?.toString(), 'canary\n2');
  t.false(JSON.stringify(calls).includes('canary'));
  t.deepEqual(
    calls.filter(({ method }) => method !== 'bulk.open').map(({ params }) => params),
    [
      { name: 'tax', bytes: 16_777_216, secret: ticket, key: 'passphrase', wait: true },
      { enclave: 'vault', secret: ticket, idleMs: 600_000, wait: true },
    ],
  );
});

test('a credential is named, and neither asked for nor sent', async (t) => {
  const { root, calls } = await served(t);
  const by = ['--credential', 'vault-key'];
  await personactl({ root }, 'enclave', 'create', 'tax', '--size', '16M', ...by);
  await personactl({ root }, 'enclave', 'open', 'vault', ...by);
  t.deepEqual(
    calls.map(({ params }) => params),
    [
      { name: 'tax', bytes: 16_777_216, key: 'credential', credential: 'vault-key', wait: true },
      { enclave: 'vault', credential: 'vault-key', wait: true },
    ],
  );
});

test('a change of the key sends the present one and the new one, each by a ticket', async (t) => {
  const { root, calls } = await served(t);
  const { err, out } = await personactl(
    { root, typed: ['old canary', 'new canary'] },
    ...['enclave', 'passwd', 'tax'],
  );
  t.regex(out, /tax opens by its new key only/, err);
  await personactl({ root, typed: ['old canary'] }, 'enclave', 'passwd', 'tax', '--new-tpm2');
  t.false(JSON.stringify(calls).includes('canary'));
  t.deepEqual(
    calls.filter(({ method }) => method === 'enclave.passwd').map(({ params }) => params),
    [
      { enclave: 'tax', secret: ticket, new: { secret: ticket, key: 'passphrase' }, wait: true },
      { enclave: 'tax', secret: ticket, new: { key: 'tpm2' }, wait: true },
    ],
  );
});

test('a recovery key is shown once, sent beside the messages, and typed as people type', async (t) => {
  const { root, calls, uploads } = await served(t);
  const made = await personactl({ root, typed: ['canary'] }, 'enclave', 'recovery', 'tax');
  const key = /^Recovery key: ((?:[0-9a-z]{4}-){12}[0-9a-z]{4})$/m.exec(made.out)?.[1] ?? '';
  const plain = key.replaceAll('-', '');
  t.is(uploads.get(ticket)?.toString(), plain, made.err);
  const typed = ` ${key.toUpperCase().replaceAll('0', 'O').replaceAll('1', 'l').replaceAll('-', ' ')}`;
  uploads.set(ticket, Buffer.alloc(0));
  await personactl({ root, typed: [typed] }, 'enclave', 'open', 'vault', '--recovery');
  t.is(uploads.get(ticket)?.toString(), plain);
  for (const wrong of ['', key.slice(1), key.replace(/^./, 'u')]) {
    const words = ['enclave', 'open', 'vault', '--recovery'];
    t.regex((await personactl({ root, typed: [wrong] }, ...words)).err, /13 groups of 4/);
  }
  t.false(JSON.stringify(calls).includes(plain));
  t.deepEqual(
    calls.filter(({ method }) => method !== 'bulk.open').map(({ params }) => params),
    [
      { enclave: 'tax', secret: ticket, recovery: ticket, wait: true },
      { enclave: 'vault', secret: ticket, recovery: true, wait: true },
    ],
  );
});

test('a recovery key that may count is told, however its change ends', async (t) => {
  let press = () => {};
  let ending: 'cut off' | 'detached' | 'refused' = 'cut off';
  const { root, uploads } = await fakeDaemon(t, {
    'bulk.open': () => ({ ticket, bytesMax: 4096, expiresMs: 1 }),
    'enclave.recovery': (_, event, hangUp) => {
      if (ending === 'refused')
        throw new PersonaError('wrong-key', { enclave: 'tax', key: 'passphrase' });
      event({ changeId: 12, status: 'committed' });
      if (ending === 'cut off') hangUp();
      else press();
      return new Promise(() => {});
    },
  });
  const make = async (...words: string[]) => {
    uploads.set(ticket, Buffer.alloc(0));
    const interrupt = (heard: () => void) => {
      press = heard;
    };
    const setting = { root, typed: ['canary'], interrupt };
    const said = await personactl(setting, 'enclave', 'recovery', 'tax', ...words);
    return { ...said, sent: uploads.get(ticket)?.toString() ?? '' };
  };
  const keyIn = ({ out }: { out: string }) =>
    (JSON.parse(out) as { recoveryKey: string }).recoveryKey.replaceAll('-', '');
  const cut = await make('--json');
  t.is(keyIn(cut), cut.sent);
  t.regex(cut.err, /connection-lost/);
  t.false(cut.err.includes('recoveryKey'));
  t.regex((await make()).err, /counts once the change has ended well .*keep both/);
  ending = 'detached';
  const detached = await make('--json');
  t.is(keyIn(detached), detached.sent);
  t.regex(detached.out, /"detached": true/);
  ending = 'refused';
  t.is((await make('--json')).out, '');
  const refused = await make();
  t.regex(refused.out, /^Recovery key: /);
  t.regex(refused.err, /The new recovery key does not count; one of before still does/);
});

test('a dry run asks for no passphrase and sends none', async (t) => {
  const { root, calls } = await served(t);
  const { status, err } = await personactl(
    { root },
    ...['enclave', 'create', 'tax', '--size', '16M', '--dry-run'],
  );
  t.is(status, 0, err);
  t.deepEqual(
    calls.map(({ method }) => method),
    ['enclave.create'],
  );
});

test('empty and oversized keys are refused before anything is sent', async (t) => {
  const { root, calls } = await served(t);
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'empty'), '');
  writeFileSync(join(folder, 'large'), Buffer.alloc(4097));
  for (const name of ['empty', 'large']) {
    const words = ['enclave', 'open', 'vault', '--key-file', name];
    t.regex((await personactl({ root, cwd: folder }, ...words)).err, /1 to 4096 bytes/);
  }
  t.regex((await personactl({ root, typed: [''] }, 'enclave', 'open', 'vault')).err, /it is empty/);
  t.deepEqual(calls, []);
});

test('closing tells who still reads, removing tells what is freed', async (t) => {
  const { root } = await served(t);
  t.regex((await personactl({ root }, 'enclave', 'close', 'vault')).out, /still holds a file/);
  t.regex((await personactl({ root }, 'enclave', 'rm', 'vault')).out, /destroyed, 16 MiB freed/);
});

when(test, { tools: ['script'] })(
  'what is typed on a terminal is not shown, and asked for twice when it is new',
  async (t) => {
    const { root, uploads } = await served(t);
    const main = fileURLToPath(new URL('../../ctl/main.ts', import.meta.url));
    const tool = `${process.execPath} --no-warnings ${main} enclave create tax --size 16M`;
    const child = spawn('script', ['-qfec', tool, '/dev/null'], {
      env: { PATH: process.env.PATH, PERSONA_ROOT: root, TERM: 'dumb' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const answers: [string, string][] = [
      ['Passphrase: ', 'canarx\x7fy\r'],
      ['Again: ', 'canary\r'],
    ];
    let shown = '';
    child.stdout.on('data', (piece) => {
      shown += String(piece);
      const [next] = answers;
      if (next === undefined || !shown.endsWith(next[0])) return;
      answers.shift();
      child.stdin.write(next[1]);
    });
    const status = await new Promise((resolve) => child.once('exit', resolve));
    t.is(status, 0, shown);
    t.is(uploads.get(ticket)?.toString(), 'canary');
    t.false(shown.includes('canar'), shown);
  },
);
