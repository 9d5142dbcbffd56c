import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { longScope } from '../security/live-daemon.ts';
import {
  furniture,
  type Profile,
  profiles,
  type Workplace,
  works,
} from '../support/application-work.ts';
import { fscryptNeeds } from '../support/fscrypt.ts';
import { lacking, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs, users } from './installed.ts';

// Applications through the installed service in every profile: each launch in a scope of its own, an enclave as home, and a database in
// memory through a restart of the daemon and the sudden end of everything.

const all = {
  ...needs,
  tools: [...needs.tools, ...fscryptNeeds.tools],
  other: () => needs.other() ?? fscryptNeeds.other(),
};
const scenario = when(test, all);
const scope = longScope();
let machine: Installed;

const applications = ['sqlite3', 'git'] as const;
type Application = (typeof applications)[number];
const user = 'owner';
const slice = `--slice=user-${users[user]}.slice`;
const home = `/home/${user}`;
const vault = '/run/persona/enclaves/vault';
/** A second program of every application: it runs until its input ends, and so the application does. */
const companion = 'cat';
/** Memory is asked for at a launch, and is there for one of the next. */
const launchesMax = 20;

if (lacking(all) === undefined) {
  test.before('applications that are known, and an enclave', async () => {
    machine = await bootInstalled(scope, { suite: 'trixie' });
    // The slice of a user stops with the last of his sessions, and nothing starts in it meanwhile.
    await machine.ok(['systemd-run', '--quiet', '--unit=session', slice, 'sleep', 'infinity']);
    for (const app of applications) {
      const programs = [app, companion].flatMap((one) => ['--executable', `/usr/bin/${one}`]);
      const more = ['--all', '--data', `~/fast-${app}`, '--loss-ok', 'yes'];
      await machine.tool(['app', 'set', app, ...programs, ...more]);
    }
    machine.write(`${home}/key`, 'the key of the test');
    await machine.ok(['chown', user, `${home}/key`]);
    const key = ['--key-file', `${home}/key`];
    await machine.tool(['enclave', 'create', 'vault', '--size', '32M', ...key], as(machine, user));
    await machine.tool(['enclave', 'open', 'vault', ...key], as(machine, user));
  });
  test.after.always(() => scope.end());
}

/** Words that start a program by the launcher, as the user, in a group of his slice as a session is. */
const launch = (profile: Profile, app: Application, command: readonly string[]): string[] => [
  ...['systemd-run', '--scope', '--quiet', `--uid=${users[user]}`],
  ...[slice, '--', 'env', `HOME=${home}`],
  ...['persona-run', '--profile', profile, app, '--', ...command],
];

interface Page {
  app: string;
  state: string;
  savedMs: number;
}

const inMemory = async (app: Application): Promise<Page | undefined> =>
  ((await machine.asked(['status'])).value as { inMemory?: Page[] }).inMemory?.find(
    (one) => one.app === app,
  );
const onDisk = (app: Application) =>
  machine.until(
    `the disk has what ${app} has written`,
    async () => (await inMemory(app)) === undefined,
    60_000,
  );

/** Starts a program in memory, which the first launch may be too early for; answers what ends its input and waits for its end. */
async function startFast(t: ExecutionContext, app: Application, command: readonly string[]) {
  for (let left = launchesMax; left > 0; left -= 1) {
    const child = machine.spawn(launch('fast', app, command));
    const ended = once(child, 'close');
    let said = '';
    child.stderr!.on('data', (piece) => {
      said += String(piece);
    });
    await machine.until(`${app} has started`, async () => {
      return said !== '' || (await inMemory(app))?.state === 'serving';
    });
    const end = async () => {
      child.stdin!.end();
      await ended;
    };
    if (said === '') return { end, write: (text: string) => child.stdin!.write(text) };
    t.regex(said, /starts as standard: /);
    await end();
    const filled = async () => (await inMemory(app))?.state !== 'filling';
    await machine.until('its memory is there', filled);
  }
  throw new Error(`${app} was not started in memory by ${launchesMax} launches`);
}

/** Runs a program of the application to its good end, in the profile, and answers what it printed. */
async function work(t: ExecutionContext, profile: Profile, app: Application, command: string[]) {
  for (let left = launchesMax; ; left -= 1) {
    const { status, stdout, stderr } = await machine.run(launch(profile, app, command));
    // A busy machine may use up what a launch waits for its answer. What then ran as standard was outside of the memory.
    const late = / no answer in time$/m.test(stderr);
    if (late && left > 0) continue;
    t.false(late || /starts as standard/.test(stderr), stderr);
    t.is(status, 0, stderr);
    return stdout;
  }
}

async function workplace(t: ExecutionContext, profile: Profile, app: Application) {
  const name = `${profile}-${app}`;
  const disk = `${profile === 'secure' ? vault : home}/${name}`;
  for (const [one, text] of Object.entries({ '': undefined, ...furniture }))
    if (text === undefined) await machine.ok(['mkdir', `${disk}/${one}`]);
    else machine.write(`${disk}/${one}`, text);
  await machine.ok(['chown', '-R', user, disk]);
  const holds = profile === 'fast' ? await startFast(t, app, [companion]) : undefined;
  const place: Workplace = {
    // Inside, the enclave lies where the home of the user does.
    seen: `${home}/${name}`,
    disk,
    async end() {
      await holds?.end();
      await onDisk(app);
    },
    work: (...command) => work(t, profile, app, command),
    outside: (...command) => machine.ok(command, as(machine, user)),
    bytes: async (path) => Buffer.from(await machine.ok(['base64', path]), 'base64'),
  };
  return place;
}

for (const app of applications)
  for (const profile of profiles)
    scenario(`${app} in ${profile}`, async (t) => {
      await works[app](t, await workplace(t, profile, app));
    });

const database = `${home}/fast-sqlite3/rows.db`;

/** What is in the database on the disk, which is whole. */
async function rowsOnDisk(t: ExecutionContext): Promise<string> {
  await onDisk('sqlite3');
  const asked = 'PRAGMA integrity_check; SELECT group_concat(name) FROM rows';
  const said = await machine.ok(['sqlite3', database, asked], as(machine, user));
  const [check, rows] = said.trim().split('\n');
  t.is(check, 'ok');
  return rows ?? '';
}

scenario(
  'what works in memory goes on through a restart of the daemon, and the last generation comes back',
  async (t) => {
    const shell = await startFast(t, 'sqlite3', ['sqlite3', '-batch', database]);
    const asks = (question: string) => work(t, 'fast', 'sqlite3', ['sqlite3', database, question]);
    const commit = async (name: string) => {
      shell.write(`INSERT INTO rows VALUES ('${name}');\n`);
      const there = `SELECT count(*) FROM rows WHERE name = '${name}'`;
      await machine.until(name, async () => (await asks(there)) === '1\n');
    };
    shell.write('PRAGMA journal_mode = WAL; CREATE TABLE rows (name TEXT);\n');
    await machine.until('a table', async () => (await asks('.tables')).includes('rows'));
    await commit('before');
    const { applications: found } = (await machine.asked(['app', 'running'])).value as {
      applications: { app: string; profile: string; group: string }[];
    };
    const one = found.find(({ app }) => app === 'sqlite3');
    t.is(one?.profile, 'fast');
    t.regex(one?.group ?? '', /user-2001\.slice\/app-personad-sqlite3-[0-9a-f]{12}\.scope$/);

    await machine.ok(['systemctl', 'restart', 'personad.service']);
    t.is((await inMemory('sqlite3'))?.state, 'serving');
    await commit('after');
    await machine.tool(['app', 'sync'], as(machine, user));
    await commit('not saved');
    await machine.kill();
    await machine.start();
    t.is(await rowsOnDisk(t), 'before,after');
  },
);
