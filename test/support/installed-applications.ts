import type { ExecutionContext } from 'ava';
import {
  type Application,
  furniture,
  type Profile,
  type Workplace,
  works,
} from './application-work.ts';

// Applications through the installed package under systemd: each launch in a scope of its own, an enclave as home, and a database in memory.

/** A Debian that has the package and applications installed, and a user of it who is in the group persona. */
export interface Ground {
  user: string;
  uid: number;
  /** What his enclave is created with. */
  enclave: readonly string[];
  /** Runs a program to its end, whatever that is. */
  run(
    command: readonly string[],
    as: 'root' | 'user',
    input?: string,
  ): Promise<{ status: number; stdout: string; stderr: string }>;
  /** Starts a program as root. It ends with the machine. */
  start(command: readonly string[]): Program;
  /** Waits until `question` answers true; rejects with `what` otherwise. */
  until(what: string, question: () => Promise<boolean>): Promise<void>;
}

/** A program whose input is open. */
export interface Program {
  /** What it has written to its standard error. */
  said(): string;
  write(text: string): void;
  /** Ends its input and waits for its end. */
  end(): Promise<void>;
}

const vault = '/run/persona/enclaves/vault';
/** A second program of every application: it runs until its input ends, and so the application does. */
const companion = 'cat';
/** Memory is asked for at a launch, and is there for one of the next. */
const launchesMax = 20;
/** On a slow machine the work is begun anew so often. */
const attemptsMax = 20;

/** A launch was too late for memory: what it did is on the disk, where the others do not see it. */
class Outside extends Error {}

interface Page {
  app: string;
  state: string;
}

/** What tests do with applications on such a machine. */
export function installedApplications(ground: Ground) {
  const { user, uid, until } = ground;
  const home = `/home/${user}`;
  const slice = `--slice=user-${uid}.slice`;

  const must = async (command: readonly string[], as: 'root' | 'user' = 'root', input = '') => {
    const { status, stdout, stderr } = await ground.run(command, as, input);
    if (status !== 0) throw new Error(`${command.join(' ')}: status ${status}\n${stderr}`);
    return stdout;
  };
  const asked = async (...words: string[]) =>
    JSON.parse(await must(['personactl', ...words, '--json'])) as Record<string, unknown>;

  /** Words that start a program by the launcher, as the user, in a group of his slice as a session is. */
  const launch = (profile: Profile, app: Application, command: readonly string[]) => [
    ...['systemd-run', '--scope', '--quiet', `--uid=${uid}`, slice, '--', 'env', `HOME=${home}`],
    ...['persona-run', '--profile', profile, app, '--', ...command],
  ];

  const stateOf = async (app: Application): Promise<string | undefined> => {
    const { inMemory = [] } = (await asked('status')) as { inMemory?: Page[] };
    return inMemory.find((one) => one.app === app)?.state;
  };
  const onDisk = (app: Application) =>
    until(`the disk has what ${app} wrote`, async () => (await stateOf(app)) === undefined);

  /** Starts a program in memory, which the first launch may be too early for. */
  async function startFast(t: ExecutionContext, app: Application, command: readonly string[]) {
    let said = '';
    for (let left = launchesMax; left > 0; left -= 1) {
      const program = ground.start(launch('fast', app, command));
      const started = async () => program.said() !== '' || (await stateOf(app)) === 'serving';
      await until(`${app} has started`, started);
      said = program.said();
      if (said === '') return program;
      t.regex(said, /starts as standard: /);
      await program.end();
      await until('its memory is there', async () => (await stateOf(app)) !== 'filling');
    }
    throw new Error(`${app} was not started in memory by ${launchesMax} launches: ${said}`);
  }

  /** Runs a program of the application to its good end, in the profile, and answers what it printed. */
  async function work(t: ExecutionContext, profile: Profile, app: Application, command: string[]) {
    for (let left = launchesMax; ; left -= 1) {
      const { status, stdout, stderr } = await ground.run(launch(profile, app, command), 'root');
      // A busy machine may use up what a launch waits for its answer.
      const late = / no answer in time$/m.test(stderr);
      if (late && profile === 'secure' && left > 0) continue;
      const tooLate = late || /there was no time left to put it into memory/.test(stderr);
      if (profile === 'fast' && tooLate) throw new Outside(stderr);
      t.false(late ? profile !== 'standard' : /starts as standard/.test(stderr), stderr);
      t.is(status, 0, stderr);
      return stdout;
    }
  }

  /** The application does its work in the profile in a new folder of this name, and the disk has it. */
  async function worksIn(
    t: ExecutionContext,
    profile: Profile,
    app: Application,
    name: string,
  ): Promise<void> {
    const disk = `${profile === 'secure' ? vault : home}/${name}`;
    for (const [one, text] of Object.entries({ '': undefined, ...furniture }))
      if (text === undefined) await must(['mkdir', '-p', `${disk}/${one}`], 'user');
      else await must(['tee', `${disk}/${one}`], 'user', text);
    const holds = profile === 'fast' ? await startFast(t, app, [companion]) : undefined;
    const end = async () => {
      await holds?.end();
      await onDisk(app);
    };
    const place: Workplace = {
      // Inside, the enclave lies where the home of the user does.
      seen: `${home}/${name}`,
      disk,
      end,
      work: (...command) => work(t, profile, app, command),
      outside: (...command) => must(command, 'user'),
      bytes: async (path) => Buffer.from(await must(['base64', path], 'user'), 'base64'),
    };
    try {
      await works[app](t, place);
    } catch (error) {
      if (error instanceof Outside) await end();
      throw error;
    }
  }

  return {
    /** Makes the applications known, and an enclave. */
    async prepare(applications: readonly Application[]): Promise<void> {
      // The slice of a user stops with the last of his sessions, and nothing starts in it meanwhile.
      await must(['systemd-run', '--quiet', '--unit=session', slice, 'sleep', 'infinity']);
      for (const app of applications) {
        const programs = [app, companion].flatMap((one) => ['--executable', `/usr/bin/${one}`]);
        const more = ['--all', '--data', `~/fast-${app}`, '--loss-ok', 'yes'];
        await must(['personactl', 'app', 'set', app, ...programs, ...more]);
      }
      const key = `${home}/key`;
      await must(['tee', key], 'user', 'the key of the test');
      const enclave = async (...words: string[]) =>
        await must(['personactl', 'enclave', ...words, '--key-file', key], 'user');
      await enclave('create', 'vault', ...ground.enclave);
      await enclave('open', 'vault');
    },

    /** The application does its work in the profile, and the disk has it. */
    async works(t: ExecutionContext, profile: Profile, app: Application): Promise<void> {
      for (let attempt = 1; ; attempt += 1)
        try {
          return await worksIn(t, profile, app, `${profile}-${app}/${attempt}`);
        } catch (error) {
          if (!(error instanceof Outside) || attempt === attemptsMax) throw error;
        }
    },

    /** How often an application waits for its writes is counted by the kernel, for the installed daemon too. */
    async counted(): Promise<void> {
      const file = `${home}/counted.db`;
      const shell = ground.start(launch('standard', 'sqlite3', ['sqlite3', '-batch', file]));
      shell.write('CREATE TABLE rows (name TEXT);\n');
      // A run is looked at each quarter of a second.
      const whileMs = performance.now() + 2_000;
      await until('it has worked for a while', async () => {
        shell.write(`INSERT INTO rows VALUES ('x');\n`);
        const { stdout } = await ground.run(['sqlite3', file, 'SELECT count(*) FROM rows'], 'user');
        return Number(stdout) >= 10 && performance.now() > whileMs;
      });
      await shell.end();
      await until('it is known how often it waits', async () => {
        const page = await must(['personactl', 'app', 'show', 'sqlite3', '--json'], 'user');
        const { application } = JSON.parse(page) as {
          application: { facts: { fact: string; value: unknown }[] };
        };
        return application.facts.some(
          ({ fact, value }) => fact === 'syncRate' && Number(value) > 0,
        );
      });
    },

    /**
     * A database in memory lives through a restart of the daemon. Afterwards it has the row `before`, the row `after`, which a generation has too, and
     * the row `not saved`. Answers what says which of them the disk has when nothing works in memory any more.
     */
    async database(t: ExecutionContext): Promise<() => Promise<string>> {
      const file = `${home}/fast-sqlite3/rows.db`;
      await must(['mkdir', '-p', `${home}/fast-sqlite3`], 'user');
      const shell = await startFast(t, 'sqlite3', ['sqlite3', '-batch', file]);
      const asks = (question: string) => work(t, 'fast', 'sqlite3', ['sqlite3', file, question]);
      const commit = async (name: string) => {
        shell.write(`INSERT INTO rows VALUES ('${name}');\n`);
        const there = `SELECT count(*) FROM rows WHERE name = '${name}'`;
        await until(name, async () => (await asks(there)) === '1\n');
      };
      shell.write('PRAGMA journal_mode = WAL; CREATE TABLE rows (name TEXT);\n');
      await until('a table', async () => (await asks('.tables')).includes('rows'));
      await commit('before');
      const { applications } = (await asked('app', 'running')) as {
        applications: { app: string; profile: string; group: string }[];
      };
      const one = applications.find(({ app }) => app === 'sqlite3');
      t.is(one?.profile, 'fast');
      const group = `/user-${uid}\\.slice/app-personad-sqlite3-[0-9a-f]{12}\\.scope$`;
      t.regex(one?.group ?? '', new RegExp(group));

      await must(['systemctl', 'restart', 'personad.service']);
      t.is(await stateOf('sqlite3'), 'serving');
      await commit('after');
      await must(['personactl', 'app', 'sync'], 'user');
      await commit('not saved');
      return async () => {
        await onDisk('sqlite3');
        const asked = 'PRAGMA integrity_check; SELECT group_concat(name) FROM rows';
        const said = await must(['sqlite3', file, asked], 'user');
        const [check, rows = ''] = said.trim().split('\n');
        t.is(check, 'ok');
        return rows;
      };
    },
  };
}
