import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { bootInstalled, type Installed, needs, populate, slotTree } from './installed.ts';

// What the service finds when it starts and must neither take nor repair: sockets of others, state it does not know.

const unit = 'personad.service';
const sockets = ['personad-user.socket', 'personad-control.socket'];
const userSocket = '/run/persona/user.sock';
const database = '/var/lib/persona/personad.db';
const program = ['/usr/lib/personad/node', '--no-warnings', '/usr/lib/personad/dist/personad.mjs'];

const scope = longScope();
let machine: Installed;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, { suite: 'trixie' });
    await populate(machine);
    machine.write(`${slotTree}/etc/written`, 'kept');
  });
  test.after.always(() => scope.end());
}

const stopAll = () => machine.ok(['systemctl', 'stop', unit, ...sockets]);
async function startAgain(t: ExecutionContext): Promise<void> {
  await machine.ok(['systemctl', 'reset-failed']);
  await machine.ok(['systemctl', 'start', unit]);
  t.is(await machine.property(unit, 'StatusText'), 'ready');
  t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept');
  await machine.tool(['swap', 'work', 'b']);
  await machine.tool(['swap', 'work', 'a']);
}

/** Everything in the state tree: names, modes, times, bytes. */
function state(): Map<string, string> {
  const folder = join(machine.place, 'state');
  const seen = new Map<string, string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const stat = lstatSync(join(folder, name));
    const bytes = stat.isFile() ? readFileSync(join(folder, name)) : '';
    const hash = createHash('sha256').update(bytes).digest('hex');
    // What the kernel can do is tried out below folders: their own times move.
    const time = stat.isFile() ? stat.mtimeMs : '';
    seen.set(name, `${stat.mode} ${stat.uid} ${stat.ino} ${time} ${hash}`);
  }
  return seen;
}

when(test, needs)('a foreign file in the place of a socket is left alone, and named', async (t) => {
  await stopAll();
  machine.write(userSocket, 'somebody needs this');
  t.not((await machine.run(['systemctl', 'start', unit])).status, 0);
  t.is(await machine.ok(['cat', userSocket]), 'somebody needs this');
  await machine.untilLogged(
    'personad-user.socket',
    /cannot create \/run\/persona\/user\.sock: it exists already/,
  );
  await machine.ok(['rm', userSocket]);
  await startAgain(t);
});

when(test, needs)('a daemon that runs by hand is not disturbed', async (t) => {
  await stopAll();
  const child = machine.spawn(program);
  const ended = new Promise((resolve) => child.once('close', resolve));
  await machine.until(
    'it answers',
    async () => (await machine.run(['personactl', 'status'])).status === 0,
  );
  const facts = ['stat', '--format=%n %i %a %U:%G', userSocket, '/run/persona/control.sock'];
  const before = await machine.ok(facts);
  t.regex(before, /user\.sock \d+ 666 root:root\n.*control\.sock \d+ 660 root:persona\n/);
  t.not((await machine.run(['systemctl', 'start', unit])).status, 0);
  t.is(await machine.ok(facts), before);
  // The first socket that is refused ends the start; the second may still be looked at.
  await machine.untilLogged(
    'personad-control.socket',
    /cannot start: another daemon uses \/run\/persona\/control\.sock/,
  );
  await machine.tool(['swap', 'work', 'b']);
  await machine.tool(['swap', 'work', 'a']);
  // A crash leaves its sockets: nobody listens there, so they are replaced.
  const { value } = await machine.asked(['status']);
  const { pid } = (value as { daemon: { pid: number } }).daemon;
  await machine.ok(['sh', '-c', 'kill -KILL "$1"', 'sh', `${pid}`]);
  await ended;
  await startAgain(t);
});

when(test, needs)('state of a newer version is refused once, and not touched', async (t) => {
  await machine.ok(['systemctl', 'stop', unit]);
  const version = (to: number) =>
    machine.ok([
      program[0]!,
      '--no-warnings',
      '--eval',
      `new (require('node:sqlite').DatabaseSync)('${database}').exec('PRAGMA user_version = ${to}')`,
    ]);
  const { user_version: now } = JSON.parse(
    await machine.ok([
      program[0]!,
      '--no-warnings',
      '--eval',
      `console.log(JSON.stringify(new (require('node:sqlite').DatabaseSync)('${database}').prepare('PRAGMA user_version').get()))`,
    ]),
  ) as { user_version: number };
  await version(now + 100);
  const before = state();
  t.not((await machine.run(['systemctl', 'start', unit])).status, 0);
  t.is(await machine.property(unit, 'ActiveState'), 'failed');
  t.is(await machine.property(unit, 'ExecMainStatus'), '8');
  t.is(await machine.property(unit, 'NRestarts'), '0');
  await machine.untilLogged(unit, /this version knows up to/);
  t.deepEqual(state(), before);
  t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept', 'slots stay as they are');
  // Who connects has it tried again a few times, and is told then.
  t.is((await machine.run(['personactl', 'status'], { deadlineMs: 20_000 })).status, 3);
  t.is((await machine.run(['personactl', 'status'])).status, 3);
  t.deepEqual(state(), before);
  await version(now);
  await machine.ok(['systemctl', 'start', unit]);
  await startAgain(t);
});

when(test, needs)('a wrong setting is refused once, with its line', async (t) => {
  machine.write('/etc/persona/conf.d/wrong.toml', '\n[space]\nkeep_fee = 1\n');
  t.not((await machine.run(['systemctl', 'restart', unit])).status, 0);
  t.is(await machine.property(unit, 'ExecMainStatus'), '2');
  t.is(await machine.property(unit, 'NRestarts'), '0');
  await machine.untilLogged(unit, /wrong\.toml:3: space\.keep_fee is not a setting/);
  await machine.ok(['rm', '/etc/persona/conf.d/wrong.toml']);
  await startAgain(t);
});

when(test, needs)('without its database the service shows, and changes nothing', async (t) => {
  const degrade = {
    deleted: ['rm', database],
    cut: ['truncate', '--size=9000', database],
    overwritten: ['cp', '/etc/os-release', database],
  };
  await machine.ok(['systemctl', 'stop', unit]);
  await machine.ok(['cp', '-a', database, '/root/good.db']);
  for (const [what, argv] of Object.entries(degrade)) {
    await machine.ok(argv);
    const before = state();
    await machine.ok(['systemctl', 'start', unit]);
    t.regex(await machine.property(unit, 'StatusText'), /^degraded: /, what);
    for (const args of [
      ['swap', 'work', 'b'],
      ['slot', 'rm', 'work', '--discard'],
      ['system', 'gc'],
    ])
      t.not((await machine.run(['personactl', ...args])).status, 0, `${what}: ${args.join(' ')}`);
    await machine.tool(['status']);
    t.is(await machine.ok(['cat', `${slotTree}/etc/written`]), 'kept', what);
    await machine.ok(['systemctl', 'stop', unit]);
    t.deepEqual(state(), before, `${what}: nothing was touched`);
    await machine.ok(['cp', '-a', '/root/good.db', database]);
  }
  await startAgain(t);
});
