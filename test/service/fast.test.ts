import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import test from 'ava';
import type { Answer } from '../../ipc/methods/index.ts';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { bootInstalled, type Installed, needs, users } from './installed.ts';

// Applications of the installed service that work in memory, each instance in a scope of its own; and what is on the disk when the machine
// would sleep, and after it has stopped. Nothing sleeps here: a service stands for the one that would put the machine to sleep.

const home = '/home/user';
const box = `${home}/.persona-.paint`;
/** As systemd-suspend.service is ordered; it writes down what is on the disk when it would be too late. */
const sleeper = `[Unit]
Requires=sleep.target
After=sleep.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'grep -rhs kept ${box} | sort > /root/asleep'
`;
/** Writes each line that it reads into the file of its name, and at its end what it has still to say. */
const paint = `#!/bin/sh
cd ~/.paint || exit
finish() { [ -z "$line" ] || echo "ended after: $line" > last; exit; }
trap finish TERM
echo begun
while read -r name words; do line=$words; echo "$line" > "$name"; echo "done"; done
finish
`;

const scope = longScope();
let machine: Installed;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, {
      suite: 'trixie',
      files: { '/etc/systemd/system/sleeper.service': sleeper },
    });
    machine.write('/usr/bin/paint', paint);
    await machine.ok(['chmod', '755', '/usr/bin/paint']);
    await machine.ok(['install', '-d', '-o', 'user', '-g', 'user', `${home}/.paint`]);
    await machine.tool([
      ...['app', 'set', 'paint', '--all', '--profile', 'fast'],
      ...['--executable', '/usr/bin/paint', '--data', '~/.paint', '--loss-ok', 'yes'],
    ]);
  });
  test.after.always(() => scope.end());
}

const slice = `user-${users.user}.slice`;
type Status = Answer<'daemon.status'>;
const inMemory = async () => ((await machine.asked(['status'])).value as Status).inMemory ?? [];

/** Starts it in a session of its user. */
async function start() {
  const child = machine.spawn([
    ...['systemd-run', '--scope', '--quiet', `--uid=${users.user}`, `--slice=${slice}`],
    ...[`--setenv=HOME=${home}`, '--', 'persona-run', 'paint', '--', '/usr/bin/paint'],
  ]);
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const ended = once(child, 'close');
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const line = async () => String((await lines.next()).value);
  const first = await line();
  if (first !== 'begun') throw new Error(said);
  return {
    said: () => said,
    async write(name: string, text: string) {
      child.stdin!.write(`${name} ${text}\n`);
      return await line();
    },
    async end() {
      child.stdin!.end();
      await ended;
    },
  };
}

/** Starts it until its folder is in memory: a first start may be too early for that. */
async function startFast() {
  for (let tries = 0; tries < 20; tries += 1) {
    const one = await start();
    if (one.said() === '') return one;
    await one.end();
    await machine.until('its folder is in memory, or was given up', async () =>
      (await inMemory()).every(({ state }) => state === 'filled'),
    );
  }
  throw new Error('it always starts as standard');
}

const asleep = async () => {
  await machine.ok(['systemctl', 'start', 'sleeper.service']);
  return await machine.ok(['cat', '/root/asleep']);
};

when(test, needs)(
  'what two instances have written is on the disk before the machine sleeps',
  async (t) => {
    const unit = 'personad-save.service';
    t.is(await machine.property(unit, 'UnitFileState'), 'enabled');
    t.is(
      await machine.ok([
        'systemd-analyze',
        'verify',
        '--man=no',
        `/usr/lib/systemd/system/${unit}`,
      ]),
      '',
    );
    t.is(await asleep(), '');
    t.is(await machine.property(unit, 'ConditionResult'), 'no', 'nothing is in memory');
    const one = await startFast();
    const two = await start();
    t.is(two.said(), '');
    t.is(await one.write('first', 'one kept'), 'done');
    t.is(await two.write('second', 'two kept'), 'done');
    t.is((await inMemory())[0]?.instances, 2);
    await machine.until('its program is kept in memory', async () => {
      const { pinned = [] } = (await machine.asked(['status'])).value as Status;
      return pinned.some(({ app, bytes }) => app === 'paint' && bytes > 0);
    });
    const keeper = (await machine.ok(['pidof', 'file-pins'])).trim();
    t.regex(
      await machine.ok(['cat', `/proc/${keeper}/cgroup`]),
      /\/user\.slice\/user-\d+\.slice\/app-personad-[^/]*\.scope\n/,
    );
    t.is(await asleep(), 'one kept\ntwo kept\n');
    t.is(await machine.property(unit, 'Result'), 'success');
    // Also when no daemon runs: the service starts it.
    for (const between of ['crash', 'stop'] as const) {
      await one.write('first', `${between} kept`);
      const pid = await machine.daemonPid();
      if (between === 'crash') await machine.crash();
      else await machine.ok(['systemctl', 'stop', 'personad.service']);
      await two.write('second', `after the ${between} kept`);
      if (between === 'crash') await machine.untilReady(pid);
      const found = await asleep();
      t.true(found.includes(`${between} kept`), found);
      t.true(found.includes(`after the ${between} kept`), found);
    }
    for (const program of [one, two]) await program.end();
    await machine.until('all is on the disk', async () => (await inMemory()).length === 0);
    t.is(await machine.ok(['cat', `${home}/.paint/second`]), 'after the stop kept\n');
    t.deepEqual((await machine.ok(['ls', '-A', `${home}/.paint`])).split('\n'), [
      'first',
      'last',
      'second',
      '',
    ]);
  },
);

when(test, needs)(
  'a machine that stops has all on its disk, to the last word of the program',
  async (t) => {
    const one = await startFast();
    t.is(await one.write('first', 'before the end'), 'done');
    const disk = `${machine.place}/disk${home}`;
    await machine.stop();
    t.is(readFileSync(`${disk}/.paint/first`, 'latin1'), 'before the end\n');
    t.is(readFileSync(`${disk}/.paint/last`, 'latin1'), 'ended after: before the end\n');
    t.false(existsSync(`${machine.place}/disk${box}`));
    t.deepEqual(readdirSync(`${disk}/.paint`).sort(), ['first', 'last', 'second']);
  },
);
