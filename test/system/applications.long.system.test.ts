import test from 'ava';
import { installedApplications } from '../support/installed-applications.ts';
import { lacking, when } from '../support/needs.ts';
import { accounts, slowMs, until } from './support/slots.ts';
import { fileVm, needsVm } from './support/vm.ts';

// Applications from Debian packages, on cgroup version 2 and with a LUKS2 enclave as home. An emulated machine is too slow for `fast`: its
// launches are over what a launcher waits for an answer, so that profile is in test/service only.

const scenario = when(test, needsVm);
const able = lacking(needsVm) === undefined;
const vm = able ? fileVm(test, { snapshot: true }) : never;

function never(): never {
  throw new Error('there is no machine');
}

const applications = ['sqlite3', 'git', 'vim'] as const;
const user = accounts.owner;

const at = installedApplications({
  user,
  uid: 1000,
  enclave: ['--size', '64M', '--type', 'luks2'],
  run: (command, who, stdin = '') =>
    vm().run(command, { deadlineMs: slowMs, stdin, ...(who === 'user' && { user }) }),
  until,
});

if (able)
  test.serial.before('applications that are known, and an enclave', async (t) => {
    t.timeout(10 * 60_000);
    await vm().must(['usermod', '-aG', 'persona', user]);
    await at.prepare(applications);
  });

for (const app of applications)
  for (const profile of ['standard', 'secure'] as const)
    scenario(`${app} in ${profile}`, async (t) => {
      t.timeout(15 * 60_000);
      await at.works(t, profile, app);
    });
