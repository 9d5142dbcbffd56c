import test from 'ava';
import { lacking, when } from '../support/needs.ts';
import { putPrograms } from './support/guest-programs.ts';
import { accounts, asked, populate, slowMs, tool, until } from './support/slots.ts';
import { fileVm, needsVm } from './support/vm.ts';

// Both volumes on an NVMe disk, governed by the installed service, while a slot in one of them is written to without a pause.

const scenario = when(test, needsVm);
const vm =
  lacking(needsVm) === undefined ? fileVm(test, { suite: 'trixie', snapshot: true }) : never;

function never(): never {
  throw new Error('there is no machine');
}

const MiB = 2 ** 20;
const unit = 'personad.service';
const slot = '/run/persona/slots/busy/root';
const volumes = '/run/persona/volumes';
/** Ten points of both volumes are 38 MiB. */
const sizeMiB = 192;
const limitMiB = 320;

interface Volumes {
  volumes: {
    name: 'user' | 'system';
    state: string;
    space?: { sizeBytes: number; freeBytes: number; missingBytes: number; directIo: boolean };
  }[];
  governed: { on: boolean; policy: string; obstacle?: string };
}
interface Integrity {
  written: { kind: string; name: string; mounted: boolean; errors: number; problem?: string }[];
}

/** Sizes of both in MiB; all is well with them. */
async function sizes(): Promise<{ user: number; system: number }> {
  const { volumes: all } = await asked<Volumes>(vm(), 'volume list');
  const found = { user: 0, system: 0 };
  for (const { name, space } of all) found[name] = (space?.sizeBytes ?? 0) / MiB;
  return found;
}

async function expectWhole(t: { is(a: unknown, b: unknown, m?: string): void }): Promise<void> {
  const { volumes: all } = await asked<Volumes>(vm(), 'volume list');
  t.is(all.length, 2);
  for (const { name, state, space } of all) {
    t.is(state, 'ready', name);
    t.is(space?.missingBytes, 0, name);
  }
}

/** A line for each number from 1 on, each on the disk before the next: what is missing or twice was lost. */
const writer = `n=0; while :; do n=$((n + 1)); echo $n >> ${slot}/etc/log; sync ${slot}/etc/log; done`;
const lines = async () => Number(await vm().must(`wc -l < ${slot}/etc/log`));
/** The number of lines if they are 1, 2, 3 and so on, and what is wrong otherwise. */
const unbroken = () =>
  vm().must(
    `awk '$0 != NR { print "line " NR " is " $0; bad = 1; exit } END { if (!bad) print NR }' ${slot}/etc/log`,
  );

/** Kills the daemon at the moment at which space has begun to leave the volume `from`: its ballast has grown. */
const killInMove = (from: string) => `
  ballast=${volumes}/.whole/${from}/ballast
  pid=$(systemctl show -P MainPID ${unit})
  was=$(stat -c %s $ballast)
  touch /run/watching
  for try in $(seq 6000); do
    if [ "$(stat -c %s $ballast)" != "$was" ]; then kill -KILL $pid && echo killed; exit; fi
    sleep 0.01
  done
  echo 'nothing moved'`;

if (lacking(needsVm) === undefined)
  test.serial.before('both volumes, a slot and a fast partition in one of them', async (t) => {
    t.timeout(10 * 60_000);
    await putPrograms(vm(), 'make-trees');
    await populate(vm());
    await vm().must(
      `mkdir -p /etc/persona/conf.d && printf '[volumes]\\ngovern = "on"\\n' > /etc/persona/conf.d/volumes.toml`,
    );
    await vm().must(`systemctl restart ${unit}`, { deadlineMs: slowMs });
    for (const name of ['user', 'system'])
      await tool(vm(), `volume create ${name} --size ${sizeMiB}M --limit ${limitMiB}M`);
    await tool(vm(), 'slot create busy --volume user', accounts.owner);
    await tool(vm(), 'swap busy a', accounts.owner);
    await tool(vm(), 'fast create quick --size 16M --on nvme --volume user', accounts.owner);
  });

scenario('the volumes lie on the NVMe disk, past its page cache', async (t) => {
  t.regex(await vm().must('findmnt -nro SOURCE --target /var/lib/persona/volumes'), /^\/dev\/nvme/);
  await until('both are governed', async () => {
    const { governed } = await asked<Volumes>(vm(), 'volume list');
    return governed.on && governed.obstacle === undefined;
  });
  const { volumes: all } = await asked<Volumes>(vm(), 'volume list');
  for (const { name, space } of all) t.true(space?.directIo, name);
  await expectWhole(t);
});

scenario(
  'space moves to the side that is full, under a slot that is written to, also when the daemon is killed meanwhile',
  async (t) => {
    t.timeout(10 * 60_000);
    const asIs = '--expand-environment=no';
    await vm().must(['systemd-run', '--quiet', asIs, '--unit=busy-writer', 'sh', '-c', writer]);
    await until('it writes', async () => (await lines().catch(() => 0)) > 0);
    const killed = vm().run(killInMove('system'), { deadlineMs: slowMs });
    await until(
      'it watches',
      async () => (await vm().run(['test', '-e', '/run/watching'])).status === 0,
    );
    await vm().must(`fallocate -l 140M ${volumes}/user/filler`);
    t.is((await killed).stdout.trim(), 'killed');
    const before = await lines();
    await until(
      'it was started again',
      async () => (await vm().run(['personactl', 'status'], { deadlineMs: slowMs })).status === 0,
    );
    t.is(await vm().must(`systemctl show -P NRestarts ${unit}`), '1\n');
    await expectWhole(t);
    await until('the volume has grown', async () => (await sizes()).user > sizeMiB);
    const { user, system } = await sizes();
    t.is(user + system, 2 * sizeMiB, 'nothing is lost between them');
    await until('it writes on', async () => (await lines()) > before);
    await vm().must('systemctl stop busy-writer', { deadlineMs: slowMs });
    t.regex(await unbroken(), /^\d+\n$/);
    t.log(`${sizeMiB}+${sizeMiB} MiB became ${user}+${system}; ${await lines()} lines, none lost`);
    const { changes } = await asked<{ changes: { kind: string; status: string }[] }>(
      vm(),
      'change list --all',
    );
    const moves = changes.filter(({ kind }) => kind === 'volume.move').map(({ status }) => status);
    t.log(`moves, the newest first: ${moves.join(', ')}`);
    t.true(moves.includes('done'));
    await expectWhole(t);
  },
);

scenario('a reboot brings all of it back, and the integrity page says so', async (t) => {
  t.timeout(10 * 60_000);
  const before = await sizes();
  const count = await lines();
  await vm().must(`echo gone > /run/persona/fast/quick/note`);
  await vm().reboot();
  t.is(await vm().must(`systemctl is-active ${unit}`), 'active\n');
  await expectWhole(t);
  const { written: images } = await asked<Integrity>(vm(), 'system integrity');
  t.deepEqual(
    images
      .filter(({ kind }) => kind === 'volume')
      .map(({ name, mounted, errors, problem }) => ({ name, mounted, errors, problem })),
    ['user', 'system'].map((name) => ({ name, mounted: true, errors: 0, problem: undefined })),
  );
  t.is(await unbroken(), `${count}\n`);
  const after = await sizes();
  t.is(after.user + after.system, before.user + before.system);
  const { partitions } = await asked<{
    partitions: { name: string; volume?: string; state: string; emptiedMs?: number }[];
  }>(vm(), 'fast list');
  t.like(partitions[0], { name: 'quick', volume: 'user', state: 'ready' });
  t.true((partitions[0]?.emptiedMs ?? 0) > 0);
  t.is(await vm().must('ls -A /run/persona/fast/quick'), '');
  const refused = await vm().run('personactl volume rm user --discard', { deadlineMs: slowMs });
  t.not(refused.status, 0);
  t.regex(refused.stderr, /slot busy, fast partition quick/);
});
