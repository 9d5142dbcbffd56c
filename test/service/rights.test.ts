import test from 'ava';
import { longScope } from '../security/live-daemon.ts';
import { lacking, when } from '../support/needs.ts';
import { as, bootInstalled, type Installed, needs, populate, slotTree } from './installed.ts';

// SECURITY 1 and 5 on an installed machine, by the installed tool: test/daemon/api has the whole matrix.

const denied = 5;
/** How `exec` ends when it starts nothing. */
const notStarted = 125;

const scope = longScope();
let machine: Installed;
if (lacking(needs) === undefined) {
  test.before(async () => {
    machine = await bootInstalled(scope, { suite: 'bookworm' });
    await populate(machine);
    await machine.tool(['slot', 'create', 'given', '--owner', 'user']);
    await machine.tool(['swap', 'given', 'b']);
  });
  test.after.always(() => scope.end());
}

/** How the tool ends for each of the four callers. */
async function statuses(args: readonly string[]): Promise<Record<string, number>> {
  const callers = {
    root: {},
    owner: as(machine, 'owner'),
    other: as(machine, 'other'),
    user: as(machine, 'user'),
  };
  const seen: Record<string, number> = {};
  for (const [name, options] of Object.entries(callers))
    seen[name] = (await machine.run(['personactl', ...args], options)).status;
  return seen;
}

when(test, needs)('who may call what', async (t) => {
  const everybody = { root: 0, owner: 0, other: 0, user: 0 };
  const members = { ...everybody, user: denied };
  const owners = { ...members, other: denied };
  const root = { ...owners, owner: denied };
  t.deepEqual(await statuses(['status']), everybody);
  t.deepEqual(await statuses(['persona', 'list']), everybody);
  t.deepEqual(await statuses(['persona', 'verify', 'a']), members);
  t.deepEqual(await statuses(['history', 'work']), owners);
  t.deepEqual(await statuses(['swap', 'work', 'b']), owners);
  t.deepEqual(await statuses(['system', 'gc', '--dry-run']), root);
  t.deepEqual(await statuses(['slot', 'rm', 'given', '--dry-run']), root);
  // Programs run as the slot's owner only, whoever that is.
  const run = (slot: string) => ['exec', slot, '--', 'cat', '/etc/name'];
  const nobody = { root: notStarted, owner: notStarted, other: notStarted, user: notStarted };
  t.deepEqual(await statuses(run('work')), { ...nobody, owner: 0 });
  t.deepEqual(await statuses(run('given')), { ...nobody, user: 0 });
});

when(test, needs)('what can be reached without asking', async (t) => {
  const may = async (who: 'owner' | 'other' | 'user', ...argv: string[]) =>
    (await machine.run(argv, as(machine, who))).status === 0;
  const connect = (socket: string) => [
    '/usr/lib/personad/node',
    '--eval',
    `require('node:net').connect('/run/persona/${socket}.sock').on('error', () => process.exit(1)).on('connect', () => process.exit(0))`,
  ];
  t.true(await may('user', ...connect('user')));
  t.false(await may('user', ...connect('control')));
  t.true(await may('other', ...connect('control')));
  t.false(await may('user', 'find', '/var/lib/persona', '-mindepth', '1'));
  t.false(await may('owner', 'ls', '/var/lib/persona'));
  t.false(await may('user', 'ls', '/run/persona/slots'));
  t.false(await may('user', 'cat', `${slotTree}/etc/name`));
  t.true(await may('owner', 'cat', `${slotTree}/etc/name`));
  t.true(await may('user', 'cat', '/run/persona/slots/given/root/etc/name'));
  // Subordinate ids of a member are nobody here.
  const subordinate = { as: { uid: 100_123 } };
  t.not((await machine.run(connect('control'), subordinate)).status, 0);
});
