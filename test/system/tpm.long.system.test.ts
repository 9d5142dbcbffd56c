import test from 'ava';
import { when } from '../support/needs.ts';
import { temporaryFolder } from '../support/temp.ts';
import { accounts, asked, slowMs, tool } from './support/slots.ts';
import { needsTpm, startTpm } from './support/tpm.ts';
import { bootVm } from './support/vm.ts';

// An enclave whose key the TPM of the machine has: it opens on this machine, by nobody's word, and on no other.

const scenario = when(test, needsTpm);
const user = accounts.owner;
const place = '/run/persona/enclaves/vault';

scenario('a key that a TPM has sealed opens on its machine and on no other', async (t) => {
  t.timeout(20 * 60_000);
  const folder = temporaryFolder(t);
  const vm = await bootVm(t, { tpm: await startTpm(folder, 'own') });
  const run = (command: string, as = 'root') => vm.run(command, { deadlineMs: slowMs, user: as });
  const must = async (command: string) => (await vm.must(command, { deadlineMs: slowMs })).trim();
  const enclave = (words: string) => tool(vm, `enclave ${words}`, user);
  const state = async () =>
    (await asked<{ enclave: { state: string } }>(vm, 'enclave show vault')).enclave.state;
  const openMapping = () => must('dmsetup ls --target crypt');
  const open = 'personactl enclave open vault --tpm2';
  await must(`usermod -aG persona ${user}`);

  await enclave('create vault --size 32M --tpm2');
  await enclave('open vault --tpm2');
  await run(`echo kept > ${place}/kept && sync ${place}/kept`, user);
  await enclave('close vault');
  const given = await run(`echo passphrase | personactl enclave open vault`, user);
  t.regex(given.stderr, /the TPM has it/);
  t.regex(await enclave('show vault'), /key +tpm2[\s\S]*sealed by the TPM 2\.0 of this machine/);

  // Another machine: the same disk, another TPM. None at all: the same.
  await vm.cut();
  await vm.boot({ tpm: await startTpm(folder, 'another') });
  for (const reason of [/unseal/i, /the machine lacks a TPM 2\.0/]) {
    const refused = await run(open, user);
    t.is(refused.status, 1, refused.stderr);
    t.regex(refused.stderr, /cannot have the key of enclave vault from the TPM of this machine/);
    t.regex(refused.stderr, reason);
    t.is(await state(), 'closed');
    t.is(await openMapping(), 'No devices found');
    await must('rm -f /dev/tpmrm0');
  }
  const made = await run('personactl enclave create other --size 32M --tpm2', user);
  t.regex(made.stderr, /the machine lacks a TPM 2\.0/);

  await vm.cut();
  await vm.boot({ tpm: await startTpm(folder, 'own') });
  await enclave('open vault --tpm2');
  t.is(await must(`cat ${place}/kept`), 'kept');

  // Its owner may take it off the TPM, and give it back.
  await enclave('close vault');
  await must(`printf 'the key of the test' > /home/${user}/key && chown ${user} /home/${user}/key`);
  const key = `key-file /home/${user}/key`;
  await enclave(`passwd vault --tpm2 --new-${key}`);
  t.not((await run(open, user)).status, 0);
  await enclave(`open vault --${key}`);
  t.is(await must(`cat ${place}/kept`), 'kept');
  await enclave('close vault');
  await enclave(`passwd vault --${key} --new-tpm2`);
  await enclave('open vault --tpm2');

  // What was sealed, taken apart by hand: it is in no log, and in no file of the state.
  const record = await must('cat /var/lib/persona/enclaves/*/key.json');
  const sealed = /"sealed": ?"([^"]+)"/.exec(record)?.[1] ?? '';
  const id = await must('ls /var/lib/persona/enclaves');
  const unseal = `systemd-creds decrypt --name=personad-enclave-${id} - - | base64 -w0`;
  const secret = await must(`printf %s '${sealed}' | ${unseal}`);
  t.is(Buffer.from(secret, 'base64').length, 32);
  const bytes = Buffer.from(secret, 'base64').toString('hex');
  const looked = `journalctl --no-pager --output=cat; cat /var/lib/persona/*.db* /var/lib/persona/enclaves/*/*.json`;
  const seen = await must(`(${looked}) | base64 -w0`);
  const text = Buffer.from(seen, 'base64');
  t.true(text.includes('vault'), 'the looking works');
  for (const form of [Buffer.from(bytes, 'hex'), secret, bytes]) t.false(text.includes(form));
  await enclave('close vault');
  await enclave('rm vault');
});
