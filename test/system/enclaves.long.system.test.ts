import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { when } from '../support/needs.ts';
import { accounts, asked, slowMs, tool, until } from './support/slots.ts';
import { bootVm, needsVm } from './support/vm.ts';

// Enclaves where device-mapper is: LUKS2, through a restart, kills in the middle of work, a reboot, and a cut of the power.

const scenario = when(test, needsVm);
const unit = 'personad.service';
const place = '/run/persona/enclaves/vault';
const user = accounts.owner;
const MiB = 1024 ** 2;
/** Moments of a creation and an opening at which the daemon is killed, milliseconds after they were asked for. */
const killsMs = [1_500, 5_000, 12_000];

interface Page {
  name: string;
  state: string;
  type: string;
  problem?: string;
}
interface Shown {
  enclave: Page;
  assurance: { disk: string };
}

scenario('an enclave is a LUKS2 volume, and nothing of it stays behind', async (t) => {
  t.timeout(40 * 60_000);
  const vm = await bootVm(t);
  const must = async (command: string) => (await vm.must(command, { deadlineMs: slowMs })).trim();
  const run = (command: string, as?: string) =>
    vm.run(command, { deadlineMs: slowMs, ...(as === undefined ? {} : { user: as }) });
  const enclave = (words: string) => tool(vm, `enclave ${words}`, user);
  const show = () => asked<Shown>(vm, 'enclave show vault');
  /** Mappings that hold a key. */
  const keyed = async () =>
    (await must('dmsetup ls --target crypt'))
      .split('\n')
      .filter((line) => line.startsWith('personad-enclave-'));
  const all = () => must('dmsetup ls | grep -c personad-enclave || true');
  const nothingLeft = async (when: string) => {
    t.deepEqual(await keyed(), [], when);
    t.is(
      await must('losetup --list --noheadings --output BACK-FILE | grep volume.luks || true'),
      '',
      when,
    );
  };
  const key = '--key-file /home/alice/key';
  await must(`usermod -aG persona ${user}`);
  for (const [file, text] of [
    ['key', 'the key of the test'],
    ['wrong', 'another key'],
  ])
    await must(`printf "${text}" > /home/alice/${file} && chown alice /home/alice/${file}`);

  await enclave(`create vault --size 64M ${key}`);
  await nothingLeft('made');
  const image = await must('ls /var/lib/persona/enclaves/*/volume.luks');
  t.regex(
    await must(`cryptsetup luksDump ${image}`),
    /Version:\s+2\n[\s\S]*cipher: aes-xts-plain64/,
  );
  const hasItsBlocks = async () => Number(await must(`stat -c %b ${image}`)) * 512 >= 64 * MiB;
  t.true(await hasItsBlocks());

  await enclave(`open vault ${key}`);
  await run(`echo canary-content > ${place}/canary-name && sync ${place}/canary-name`, user);
  t.is(await must(`cat ${place}/canary-name`), 'canary-content');
  t.regex(await must(`findmnt --noheadings --output OPTIONS ${place}`), /nosuid,nodev/);
  t.like(await show(), { enclave: { state: 'open', type: 'luks2' } });
  t.regex((await show()).assurance.disk, /^aes-xts-256 luks2;/);
  const table = await must('dmsetup table --target crypt --showkeys');
  const volumeKey = /crypt aes-xts-plain64 ([0-9a-f]{128}) /.exec(table)?.[1] ?? '';
  t.is(volumeKey.length, 128, 'AES-256 in XTS mode, and in no keyring');
  t.not((await run(`ls ${place}`, accounts.other)).status, 0);

  // All its blocks are its own: also when the disk below is full.
  const full = '/var/lib/persona/full';
  await must(`fallocate -l $(df --output=avail -B1 /var/lib/persona | tail -1) ${full} || true`);
  await run(`dd if=/dev/zero of=${full}.rest bs=4k; sync`);
  t.is(
    (await run(`head -c 40M /dev/urandom > ${place}/large && sync ${place}/large`, user)).status,
    0,
  );
  await must(`rm ${full} ${full}.rest`);

  await must(`systemctl restart ${unit}`);
  t.like(await show(), { enclave: { state: 'open' } });
  await enclave('close vault');
  await nothingLeft('closed');
  t.is(await all(), '0');
  t.is(await must(`grep -c canary ${image} || true`), '0', 'the volume tells nothing');
  t.true(await hasItsBlocks());

  const wrong = await run('personactl enclave open vault --key-file /home/alice/wrong', user);
  t.is(wrong.status, 5, wrong.stderr);
  await nothingLeft('with a wrong key');

  // Another key opens the same volume, and the one before no longer does.
  const wrapped = await must('cat /var/lib/persona/enclaves/*/key.json');
  await enclave(`passwd vault ${key} --new-key-file /home/alice/wrong`);
  t.is((await run(`personactl enclave open vault ${key}`, user)).status, 5);
  await enclave('open vault --key-file /home/alice/wrong');
  t.is(await must(`cat ${place}/canary-name`), 'canary-content');
  await enclave('close vault');
  await enclave(`passwd vault --key-file /home/alice/wrong --new-key-file /home/alice/key`);
  t.not(await must('cat /var/lib/persona/enclaves/*/key.json'), wrapped);
  await nothingLeft('with other keys');

  // Somebody inside, and a namespace that was made meanwhile: the key goes all the same.
  await enclave(`open vault ${key}`);
  await must('systemd-run --unit=apart --property=PrivateMounts=yes sleep infinity');
  await must(`systemd-run --unit=inside tail -f ${place}/canary-name`);
  t.is((await run('personactl enclave close vault', user)).status, 6);
  await run(`echo late > ${place}/late`, user);
  await enclave('close vault --force');
  await nothingLeft('closed by force');
  t.regex((await show()).enclave.problem ?? '', /its key is gone/);
  await enclave(`open vault ${key}`);
  t.is(await must(`cat ${place}/late`), 'late', 'what was not written yet was written first');
  await must('systemctl stop inside.service apart.service');
  await until('what was left is gone', async () => (await all()) === '1');
  await enclave('close vault');
  await nothingLeft('closed after he has gone');
  t.is((await show()).enclave.problem, undefined);

  for (const ms of killsMs) {
    const work = [
      run(`personactl enclave open vault ${key}`, user),
      run(`personactl enclave create new --size 32M --type luks2 ${key}`, user),
    ];
    await pause(ms);
    await must(`systemctl kill --signal=KILL ${unit}`);
    await Promise.all(work);
    await until('the daemon is back', async () => (await run('personactl status')).status === 0);
    const { enclaves } = await asked<{ enclaves: Page[] }>(vm, 'enclave list');
    const open = enclaves.filter(({ state }) => state === 'open').map(({ name }) => name);
    const known = enclaves.map(({ name, state }) => `${name} ${state}`).join(', ');
    t.log(`killed after ${ms} ms: ${known}`);
    t.is((await keyed()).length, open.length, 'a key for each that is open, and no other');
    t.is(await must('ls /var/lib/persona/enclaves | wc -l'), String(enclaves.length));
    for (const name of open) await enclave(`close ${name}`);
    if (enclaves.some(({ name }) => name === 'new')) await enclave('rm new');
    await nothingLeft(`killed after ${ms} ms`);
  }

  // Off in order, and without.
  for (const goesOff of ['down', 'cut'] as const) {
    await enclave(`open vault ${key}`);
    await run(`echo ${goesOff} > ${place}/kept && sync ${place}/kept`, user);
    await vm[goesOff]();
    await vm.boot();
    t.like(await show(), { enclave: { state: 'closed' } });
    await nothingLeft(goesOff);
    await enclave(`open vault ${key}`);
    t.is(await must(`cat ${place}/kept`), goesOff);
    await enclave('close vault');
  }
  await enclave('rm vault');
  t.is(await must('ls /var/lib/persona/enclaves'), '');
  const said = await must('journalctl --no-pager --output=cat');
  for (const secret of ['the key of the test', volumeKey]) t.false(said.includes(secret));
});
