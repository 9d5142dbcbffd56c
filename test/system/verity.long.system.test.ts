import test from 'ava';
import { when } from '../support/needs.ts';
import { putPrograms } from './support/guest-programs.ts';
import { accounts, asked, populate, slotTree, slowMs, tool } from './support/slots.ts';
import { bootVm, needsVm } from './support/vm.ts';

// Images are sealed with fs-verity on a file system that has it, and what that is worth (SECURITY 10).

const scenario = when(test, needsVm);
const state = '/var/lib/persona';

interface Report {
  capabilities: { name: string; state: string; detail: string }[];
}

/** Where the superblock of the erofs image in a persona's file lies, by its magic number. */
async function superblock(
  must: (command: string) => Promise<string>,
  file: string,
): Promise<number> {
  const found = await must(`LC_ALL=C grep -aobUP '\\xe2\\xe1\\xf5\\xe0' ${file} | head -n 1`);
  return Number.parseInt(found, 10);
}

scenario('images are sealed at import, and a changed one is never mounted', async (t) => {
  t.timeout(30 * 60_000);
  const vm = await bootVm(t, { snapshot: true });
  const must = (command: string) => vm.must(command, { deadlineMs: slowMs });
  const run = (command: string) => vm.run(command, { deadlineMs: slowMs });
  const images = async () =>
    (await must(`ls ${state}/layers/*.erofs ${state}/personas/*.osp`)).trim().split('\n');
  const measured = async (file: string) =>
    (await must(`fsverity measure ${file}`)).split(' ')[0] ?? '';

  const { capabilities } = await asked<Report>(vm, 'doctor');
  t.is(capabilities.find(({ name }) => name === 'fs-verity')?.state, 'ok');
  await putPrograms(vm, 'make-trees');
  await populate(vm);

  const files = await images();
  t.true(files.length >= 3, files.join(' '));
  for (const file of files) {
    const digest = await measured(file);
    t.regex(String(digest), /^sha256:[0-9a-f]{64}$/, file);
    t.is((await must(`fsverity digest --compact ${file}`)).trim(), digest?.slice(7), file);
    const record = file.replace(/\.(erofs|osp)$/, '.json');
    t.true((await must(`cat ${record}`)).includes(`"verity": "${digest}"`), record);
    const written = await run(`printf x | dd of=${file} conv=notrunc`);
    t.not(written.status, 0, 'root cannot write it');
    t.regex(written.stderr, /not permitted/, file);
  }

  // A restart forgets every witness: the seals alone tell that the files are the ones.
  await must('systemctl restart personad.service');
  await tool(vm, 'swap work b', accounts.owner);
  t.is(await must(`cat ${slotTree}/etc/name`), 'b');

  // A backup comes back sealed.
  await tool(vm, 'backup /root/desk.backup');
  await tool(vm, 'restore /root/desk.backup --replace --end-slots');
  t.is(await must(`cat ${slotTree}/etc/name`), 'b');
  for (const file of await images()) t.regex(String(await measured(file)), /^sha256:/, file);

  // Without its seal (another copy of the same bytes) a file is read again, and is good.
  const persona = await asked<{ persona: { digest: string } }>(vm, 'persona show a');
  const file = `${state}/personas/${persona.persona.digest.replace(':', '-')}.osp`;
  await must(`cp -p ${file} ${file}.copy && mv -f ${file}.copy ${file}`);
  t.not((await run(`fsverity measure ${file}`)).status, 0, 'the copy has no seal');
  await must('systemctl restart personad.service');
  await tool(vm, 'swap work a', accounts.owner);
  t.is(await must(`cat ${slotTree}/etc/name`), 'a');
  await tool(vm, 'swap work b', accounts.owner);

  // With other bytes, sealed or not, it is refused, and the slot stays on what it shows.
  const at = await superblock(must, file);
  await must(
    `cp -p ${file} ${file}.copy && printf x | dd of=${file}.copy bs=1 seek=${at + 64} conv=notrunc`,
  );
  await must(`mv -f ${file}.copy ${file} && systemctl restart personad.service`);
  const unsealed = await run(`runuser -u ${accounts.owner} -- personactl swap work a`);
  t.is(unsealed.status, 8, unsealed.stderr);
  await must(`fsverity enable ${file} && systemctl restart personad.service`);
  const sealed = await run(`runuser -u ${accounts.owner} -- personactl swap work a`);
  t.is(sealed.status, 8, sealed.stderr);
  t.regex(sealed.stderr, /its seal is another one|its bytes have changed/);
  t.is(await must(`cat ${slotTree}/etc/name`), 'b');
});

/**
 * Where a block of a file lies on its disk, by what `filefrag -v` says: NaN when it has no place. The kernel is asked: who reads the
 * disk of a mounted file system, as debugfs does, may meet a superblock that is just being written.
 */
function physicalOf(extents: string, block: number): number {
  for (const [, first, last, place] of extents.matchAll(/^ *\d+: +(\d+)\.\. *(\d+): +(\d+)\.\./gm))
    if (Number(first) <= block && block <= Number(last))
      return Number(place) + block - Number(first);
  return Number.NaN;
}

scenario('a block that changes on the disk is noticed when it is read', async (t) => {
  t.timeout(30 * 60_000);
  const vm = await bootVm(t, { snapshot: true });
  const must = (command: string) => vm.must(command, { deadlineMs: slowMs });
  await putPrograms(vm, 'make-trees');
  await populate(vm);
  const persona = await asked<{ persona: { digest: string } }>(vm, 'persona show b');
  const file = `${state}/personas/${persona.persona.digest.replace(':', '-')}.osp`;
  // The first block of the image, behind the back of the file system.
  const block = Math.floor((await superblock(must, file)) / 4096);
  const physical = physicalOf(await must(`filefrag -s -v -b4096 ${file}`), block);
  t.true(physical > 0);
  await must(
    `dd if=/dev/urandom of=/dev/nvme0n1 bs=4096 count=1 seek=${physical} oflag=direct conv=notrunc`,
  );
  await must('echo 3 >/proc/sys/vm/drop_caches');
  const read = await vm.run(`cat ${file} >/dev/null`, { deadlineMs: slowMs });
  t.not(read.status, 0);
  t.regex(read.stderr, /Input\/output error/);
  const verified = await vm.run('personactl persona verify b', { deadlineMs: slowMs });
  t.not(verified.status, 0);
  t.is(await must(`cat ${slotTree}/etc/name`), 'a', 'the slot stays on what it shows');
});
