import { type ChildProcess, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { personactl } from '../ctl/tool.ts';
import { run, when } from '../support/needs.ts';

const program = fileURLToPath(new URL('../../daemon/main.ts', import.meta.url));

interface Running {
  child: ChildProcess;
  output(): string;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

/** Takes off what slots leave mounted on purpose. */
function releaseMounts(root: string): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${root}/`));
  for (const point of points.reverse()) run('umount', '-l', point);
}

function rootOf(t: ExecutionContext): string {
  const root = mkdtempSync(join(tmpdir(), 'personad-serve-'));
  t.teardown(() => {
    releaseMounts(root);
    rmSync(root, { recursive: true, force: true });
  });
  mkdirSync(join(root, 'etc'));
  const settings = '[space]\nreserve = "1MiB"\nkeep_free = "1MiB"\nkeep_free_percent = 0\n';
  writeFileSync(join(root, 'etc/persona.toml'), settings, { mode: 0o644 });
  return root;
}

function start(t: ExecutionContext, root: string, more: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, ['--no-warnings', program], {
    env: { PATH: process.env.PATH, PERSONA_ROOT: root, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece) => {
      output += String(piece);
    });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on('exit', (code, signal) => resolve({ code, signal })),
  );
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, output: () => output, ended };
}

/** Resolves when the daemon says that it is ready, or something else; throws when it ends before. */
async function ready({ child, output, ended }: Running, what = 'ready'): Promise<void> {
  const said = new Promise<void>((resolve) => {
    const look = () => output().includes(`"msg":"${what}"`) && resolve();
    child.stdout?.on('data', look);
    look();
  });
  const early = ended.then(({ code }) => {
    throw new Error(`ended with ${code}: ${output()}`);
  });
  await Promise.race([said, early]);
}

/** One call over the wire, without the tool. */
function call(root: string, method: string, params: object): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(join(root, 'run/control.sock'));
    let text = '';
    socket.on('error', reject);
    socket.on('data', (piece) => {
      text += String(piece);
      for (const frame of text.split('\f').slice(0, -1)) {
        const message = JSON.parse(frame) as { type: string; data: Record<string, unknown> };
        if (message.type !== 'reply') continue;
        socket.destroy();
        resolve(message.data);
      }
    });
    socket.write(`${JSON.stringify({ type: method, data: { id: 1, params } })}\f`);
  });
}

const needs = { root: true };

when(test, needs)('the daemon starts, answers, stops cleanly and leaves no socket', async (t) => {
  const root = rootOf(t);
  const daemon = start(t, root);
  await ready(daemon);
  const { result } = await call(root, 'daemon.ping', {});
  t.like(result, { pid: daemon.child.pid! });
  t.is(statSync(join(root, 'state')).mode & 0o7777, 0o700);
  t.is(statSync(join(root, 'run/user.sock')).mode & 0o777, 0o666);
  const kept = async (method: string) =>
    JSON.stringify((await call(root, method, {})).result).match(/"reserveBytes":\d+/)?.[0];
  t.truthy(await kept('system.df'));
  t.is(await kept('system.df'), await kept('daemon.status'), 'one figure for what is kept free');
  const threads = readdirSync(`/proc/${daemon.child.pid}/task`).length;
  t.true(threads > 0);
  daemon.child.kill('SIGTERM');
  t.deepEqual(await daemon.ended, { code: 0, signal: null });
  t.false(existsSync(join(root, 'run/user.sock')));
});

when(test, needs)(
  'a second daemon on the tree is refused, the first is not disturbed',
  async (t) => {
    const root = rootOf(t);
    const first = start(t, root);
    await ready(first);
    const second = start(t, root);
    t.is((await second.ended).code, 6);
    t.regex(second.output(), /another daemon uses .*Stop the other daemon/s);
    t.like((await call(root, 'daemon.ping', {})).result, { pid: first.child.pid! });
  },
);

when(test, needs)('killed at any moment it starts again with what it had', async (t) => {
  const root = rootOf(t);
  const first = start(t, root);
  await ready(first);
  const made = await call(root, 'slot.create', { name: 'kept', wait: true });
  t.is((made.result as { result: { slot: { name: string } } }).result.slot.name, 'kept');
  first.child.kill('SIGKILL');
  await first.ended;
  const second = start(t, root);
  await ready(second);
  const { result } = await call(root, 'slot.list', {});
  t.is((result as { slots: { name: string }[] }).slots[0]?.name, 'kept');
  const removed = await call(root, 'slot.rm', { slot: 'kept', wait: true });
  t.is(removed.error, undefined);
});

when(test, { ...needs, tools: ['bwrap'] })('told to stop it ends running work first', async (t) => {
  const root = rootOf(t);
  const tree = join(root, 'tree/etc');
  mkdirSync(tree, { recursive: true });
  for (let n = 0; n < 3_000; n++) writeFileSync(join(tree, `${n}`), 'x');
  const first = start(t, root);
  await ready(first);
  const source = { kind: 'path', path: join(root, 'tree') };
  const begun = await call(root, 'base.import', { name: 'base', source });
  t.is((begun.result as { changeId: number }).changeId, 1);
  first.child.kill('SIGTERM');
  t.deepEqual(await first.ended, { code: 0, signal: null }, first.output());
  t.regex(first.output(), /"msg":"stopped"/);
  const second = start(t, root);
  await ready(second);
  t.false(second.output().includes('recovering'), 'nothing was left to recover');
  const { result } = await call(root, 'change.show', { change: 1 });
  t.true(['done', 'aborted'].includes((result as { change: { status: string } }).change.status));
});

when(test, needs)('told to stop while it starts anew for a restore it stops', async (t) => {
  const root = rootOf(t);
  const daemon = start(t, root);
  await ready(daemon);
  const file = join(root, 'backup');
  const made = await personactl({ root }, 'backup', file);
  t.is(made.status, 0, made.err);
  const restored = call(root, 'system.restore', { file, replace: true, wait: true });
  await ready(daemon, 'stopping');
  daemon.child.kill('SIGTERM');
  t.deepEqual(await daemon.ended, { code: 0, signal: null }, daemon.output());
  t.is((await restored).error, undefined);
});

when(test, needs)('with its database gone it shows and changes nothing', async (t) => {
  const root = rootOf(t);
  const first = start(t, root);
  await ready(first);
  await call(root, 'slot.create', { name: 'kept', wait: true });
  first.child.kill('SIGTERM');
  await first.ended;
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(root, `state/personad.db${end}`), { force: true });
  const before = readdirSync(join(root, 'state'), { recursive: true }).sort();
  const second = start(t, root);
  await ready(second);
  const status = (await call(root, 'daemon.status', {})).result as { daemon: object };
  t.like(status.daemon, { state: 'degraded' });
  const refused = await call(root, 'slot.create', { name: 'more', wait: true });
  t.is((refused.error as { code: string }).code, 'daemon-degraded');
  second.child.kill('SIGTERM');
  t.is((await second.ended).code, 0);
  t.deepEqual(readdirSync(join(root, 'state'), { recursive: true }).sort(), before);
});

when(test, needs)('a service takes neither a private tree nor options for Node', async (t) => {
  const root = rootOf(t);
  const tree = start(t, root, { INVOCATION_ID: 'x' });
  t.is((await tree.ended).code, 2);
  t.regex(tree.output(), /PERSONA_ROOT is set, and a service does not take it/);
  const options = start(t, '', { NOTIFY_SOCKET: '/nowhere', NODE_OPTIONS: '--no-deprecation' });
  t.is((await options.ended).code, 2);
  t.regex(options.output(), /NODE_OPTIONS is set/);
  t.false(existsSync(join(root, 'state')));
});

when(test, needs)('what a service starts is not the service', async (t) => {
  const root = rootOf(t);
  const daemon = start(t, root, { INVOCATION_ID: 'x', SYSTEMD_EXEC_PID: '1' });
  await ready(daemon);
  t.pass();
});

when(test, needs)('a service runs only what root alone can write', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'personad-program-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const copy = join(folder, 'copy');
  for (const name of ['daemon', 'ipc'])
    cpSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), join(copy, name), {
      recursive: true,
    });
  writeFileSync(join(copy, 'package.json'), '{"type":"module","version":"0"}');
  symlinkSync(
    fileURLToPath(new URL('../../node_modules', import.meta.url)),
    join(copy, 'node_modules'),
  );
  // Only checks, whatever becomes of it: without a private tree this is the machine's own daemon.
  const args = ['--no-warnings', join(copy, 'daemon/main.ts'), '--check-config'];
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, INVOCATION_ID: 'x' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', (piece) => {
    output += String(piece);
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  // The folder for temporary files is everybody's.
  t.is(code, 2, output);
  t.regex(output, /others than root can write/);
});

when(test, needs)('a setting it does not know stops the start with file and line', async (t) => {
  const root = rootOf(t);
  writeFileSync(join(root, 'etc/persona.toml'), '[space]\nkeep_fee = 1\n', { mode: 0o644 });
  const daemon = start(t, root);
  t.is((await daemon.ended).code, 2);
  t.regex(daemon.output(), /persona\.toml:2: space\.keep_fee is not a setting/);
});

when(test, { ...needs, tools: ['python3'] })(
  'readiness and stop are told to the service manager',
  async (t) => {
    const { notifyManager } = await import('../../daemon/kernel/notify.ts');
    const root = rootOf(t);
    const path = join(root, 'notify');
    const listener = spawn('python3', [
      '-c',
      `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('bound',flush=True)
print(s.recv(1000).decode(),flush=True)`,
      path,
    ]);
    t.teardown(() => listener.kill('SIGKILL'));
    let heard = '';
    const told = new Promise<void>((resolve) => {
      listener.stdout.on('data', (piece) => {
        heard += String(piece);
        if (heard === 'bound\n') notifyManager(path, 'READY=1');
      });
      listener.on('exit', () => resolve());
    });
    await told;
    t.is(heard, 'bound\nREADY=1\n');
    t.notThrows(() => notifyManager(undefined, 'READY=1'));
    t.throws(() => notifyManager(join(root, 'nobody'), 'READY=1'));
    t.is(readFileSync(join(root, 'etc/persona.toml'), 'utf8').includes('reserve'), true);
  },
);
