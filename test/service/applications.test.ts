import { once } from 'node:events';
import test from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { profiles } from '../support/application-work.ts';
import { fscryptNeeds } from '../support/fscrypt.ts';
import { installedApplications } from '../support/installed-applications.ts';
import { lacking, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs, users } from './installed.ts';

// Applications through the installed service in every profile, and a database in memory through a restart of the daemon and the sudden end
// of everything.

const all = {
  ...needs,
  tools: [...needs.tools, ...fscryptNeeds.tools],
  other: () => needs.other() ?? fscryptNeeds.other(),
};
const scenario = when(test, all);
const scope = longScope();
let machine: Installed;

const applications = ['sqlite3', 'git'] as const;
const user = 'owner';
const untilMs = 60_000;

const at = installedApplications({
  user,
  uid: users[user],
  enclave: ['--size', '32M'],
  run: (command, who, input = '') =>
    machine.run(command, { input, ...(who === 'user' && as(machine, user)) }),
  start(command) {
    const child = machine.spawn(command);
    const ended = once(child, 'close');
    let said = '';
    child.stderr!.on('data', (piece) => {
      said += String(piece);
    });
    return {
      said: () => said,
      write: (text) => child.stdin!.write(text),
      async end() {
        child.stdin!.end();
        await ended;
      },
    };
  },
  until: (what, question) => machine.until(what, question, untilMs),
});

if (lacking(all) === undefined) {
  test.before('applications that are known, and an enclave', async () => {
    machine = await bootInstalled(scope, { suite: 'trixie' });
    await at.prepare(applications);
  });
  test.after.always(() => scope.end());
}

for (const app of applications)
  for (const profile of profiles)
    scenario(`${app} in ${profile}`, (t) => at.works(t, profile, app));

scenario(
  'what works in memory goes on through a restart of the daemon, and the last generation comes back',
  async (t) => {
    const rowsOnDisk = await at.database(t);
    await machine.kill();
    await machine.start();
    t.is(await rowsOnDisk(), 'before,after');
  },
);
