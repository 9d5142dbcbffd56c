import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { managerRuns } from '../../../daemon/kernel/unit-properties.ts';
import type { Client } from '../../../ipc/client.ts';
import type { Answer } from '../../../ipc/methods/index.ts';
import { compileLauncher } from '../../../scripts/launcher.ts';
import { launcherNeeds } from '../../ctl/launch-plans.ts';
import { asUser, privateTree, startLive, users } from '../../security/live-daemon.ts';
import { memoryNeeds } from '../../support/memory-group.ts';
import { when } from '../../support/needs.ts';
import { startAnswered } from './answered-launch.ts';
import { sideGroup, until } from './side-group.ts';

// What real runs of an application leave behind of it.

const unmanaged = () => (managerRuns() ? 'needs a machine without systemd' : memoryNeeds.other?.());
const live = when(test, { ...launcherNeeds, root: true, other: unmanaged });
const built = mkdtempSync(join(tmpdir(), 'personad-test-'));
const launcher = join(built, 'persona-run');
const MiB = 2 ** 20;

test.before(() => compileLauncher(launcher));
test.after.always(() => rmSync(built, { recursive: true, force: true }));

/** Takes 24 MiB and waits. */
const editor = `#!/bin/sh
text=$(head -c 24M /dev/zero | tr '\\0' x)
echo begun; read line
`;

/** A machine whose administrator names one application, and a daemon. */
async function editorMachine(t: ExecutionContext) {
  const { side, at } = sideGroup(t, 'needs');
  const root = privateTree(t, `[partitions]\nuser = "${side}"\n`);
  const editorFile = `${root}/machine/usr/bin/editor`;
  mkdirSync(`${root}/machine/usr/bin`, { recursive: true });
  writeFileSync(editorFile, editor, { mode: 0o755 });
  const daemon = await startLive(t, root);
  const client = await daemon.client();
  const set = { executables: ['/usr/bin/editor'], memory: 2 ** 30 };
  await client.call('app.set', { app: 'editor', everybody: true, set, wait: true });
  const start = (program = editorFile) =>
    startAnswered(t, { launcher, root, app: 'editor', program });
  return { root, at, start, daemon, client };
}

type Facts = Answer<'app.show'>['application']['facts'];
const measuredOf = async (client: Client): Promise<Facts> =>
  (await client.call('app.show', { app: 'editor' })).application.facts.filter(
    ({ source }) => source === 'measured',
  );
/** Once it is known more surely than that. */
const measured = (client: Client, confidence: number) =>
  until(async () => {
    const facts = await measuredOf(client);
    return (facts[0]?.confidence ?? 0) > confidence ? facts : undefined;
  });
const all = ['memory', 'typicalMemory', 'processors', 'coldRead', 'startTime'];
/** Where the file system tells how often its files are waited for, that is known, too. */
const namesOf = (facts: Facts) =>
  facts.map(({ fact }) => fact).filter((fact) => fact !== 'syncRate');

live(
  'an application is measured once it has started, and known better with each run',
  async (t) => {
    const { root, start, daemon, client } = await editorMachine(t);
    let confidence = 0;
    // On a busy machine the start itself may not be seen.
    for (let facts: Facts = []; namesOf(facts).length < all.length; ) {
      const end = await start();
      facts = await measured(client, confidence);
      confidence = facts[0]?.confidence ?? 0;
      await end();
    }
    await start();
    t.deepEqual(namesOf(await measured(client, confidence)), all);
    // What an administrator says counts before it; both are shown.
    const { application } = await client.call('app.show', { app: 'editor' });
    const memory = application.facts.filter(({ fact }) => fact === 'memory');
    t.deepEqual(
      memory.map(({ source }) => source),
      ['admin', 'measured'],
    );
    const { explanation } = await client.call('app.explain', { app: 'editor' });
    t.is(explanation.memoryBytes, 2 ** 30);
    t.deepEqual(namesOf(explanation.measured), all);
    // What one user has run says nothing to another, nor does what is only called so.
    const [other] = await asUser(users.user, [], daemon.run, [['app.show', { app: 'editor' }]]);
    t.is(other?.error, undefined);
    t.notRegex(JSON.stringify(other?.result), /measured/);
    // A daemon that stops looks for the last time and keeps what it has learned; the next one goes by it.
    await daemon.end('SIGTERM');
    const next = await startLive(t, root);
    const kept = await measuredOf(await next.client());
    t.is(kept[0]?.fact, 'memory');
    t.true((kept[0]?.confidence ?? 0) > confidence);
    const bytes = Number(kept[0]?.value);
    t.true(bytes >= 24 * MiB && bytes < 512 * MiB, `${bytes}`);
  },
);

live('a program that is only called like an application is not measured', async (t) => {
  const { root, at, start, daemon, client } = await editorMachine(t);
  const other = join(root, 'other');
  writeFileSync(other, editor, { mode: 0o755 });
  const end = await start(other);
  await until(async () => {
    const { applications } = await client.call('launch.list', {});
    return applications.some(({ app }) => app === 'editor') || undefined;
  });
  await end();
  await daemon.end('SIGTERM');
  t.deepEqual(
    readdirSync(at, { withFileTypes: true }).filter((one) => one.isDirectory()),
    [],
  );
  const next = await startLive(t, root);
  t.deepEqual(await measuredOf(await next.client()), []);
});
