import test from 'ava';
import { applications, profiles } from '../support/application-work.ts';
import { installedApplications } from '../support/installed-applications.ts';
import { lacking, when } from '../support/needs.ts';
import { accounts, slowMs, until } from './support/slots.ts';
import { fileVm, needsVm } from './support/vm.ts';

// Applications from Debian packages in every profile, on cgroup version 2 and with a LUKS2 enclave as home.

const scenario = when(test, needsVm);
const able = lacking(needsVm) === undefined;
const vm = able ? fileVm(test, { packages: ['firefox-esr'] }) : never;

function never(): never {
  throw new Error('there is no machine');
}

const user = accounts.owner;

const at = installedApplications({
  user,
  uid: 1000,
  enclave: ['--size', '256M', '--type', 'luks2'],
  run: (command, who, stdin = '') =>
    vm().run(command, { deadlineMs: slowMs, stdin, ...(who === 'user' && { user }) }),
  start(command) {
    let said = '';
    const running = vm().open(command, (stream, bytes) => {
      if (stream === 'err') said += String(bytes);
    });
    return {
      said: () => said,
      write: (text) => void running.write(Buffer.from(text)),
      async end() {
        running.endInput();
        await running.ended;
      },
    };
  },
  until,
});

if (able)
  test.serial.before('applications that are known, and an enclave', async (t) => {
    t.timeout(10 * 60_000);
    await vm().must(['usermod', '-aG', 'persona', user]);
    await at.prepare(applications);
  });

scenario('it is counted how often an application waits for its disk', async (t) => {
  t.timeout(15 * 60_000);
  await at.counted();
  t.pass();
});

for (const app of applications)
  for (const profile of profiles)
    scenario(`${app} in ${profile}`, async (t) => {
      t.timeout(15 * 60_000);
      await at.works(t, profile, app);
    });
