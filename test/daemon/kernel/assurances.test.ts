import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  hardwareOf,
  memoryEncryptionOf,
  memoryProtection,
  swapOf,
} from '../../../daemon/kernel/assurances.ts';
import {
  protectionOf,
  protectionText,
  readVulnerabilities,
  sameUserOf,
} from '../../../daemon/kernel/processor-protection.ts';
import { protectionCheck } from '../../../daemon/system/doctor.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';

const cpu = (...flags: string[]) => `processor\t: 0\nflags\t\t: fpu ${flags.join(' ')} aes\n`;
const has = (...names: string[]) => new Set(names);

test('hardware is what can be used, not what the processor could', (t) => {
  t.is(hardwareOf(cpu(), has()), 'none');
  t.is(hardwareOf('', has()), 'none');
  t.is(hardwareOf(cpu('sgx'), has()), 'none');
  t.is(hardwareOf(cpu('sgx'), has('sgx_enclave')), 'sgx');
  t.is(hardwareOf(cpu('sev', 'sev_snp'), has()), 'none');
  t.is(hardwareOf(cpu('sev'), has('sev')), 'sev');
  t.is(hardwareOf(cpu(), has('sev-guest')), 'sev');
  t.is(hardwareOf(cpu('tdx_guest'), has()), 'tdx');
  t.is(hardwareOf('Features\t: fp asimd', has('tee0')), 'trustzone');
});

test('memory counts as encrypted only where that is known', (t) => {
  t.is(memoryEncryptionOf(cpu(), has()), 'not encrypted');
  t.regex(memoryEncryptionOf(cpu('sme'), has()), /is not told/);
  t.regex(memoryEncryptionOf(cpu('tme'), has()), /is not told/);
  t.regex(memoryEncryptionOf(cpu('tdx_guest'), has()), /^encrypted by the processor/);
  t.regex(memoryEncryptionOf(cpu(), has('sev-guest')), /^encrypted by the processor/);
});

test('where swap goes is said', (t) => {
  const head = 'Filename\tType\tSize\tUsed\tPriority\n';
  t.is(swapOf(''), 'none');
  t.is(swapOf(head), 'none');
  t.is(swapOf(`${head}/dev/zram0 partition 1 0 100\n`), 'in memory (zram)');
  t.regex(swapOf(`${head}/dev/zram0 partition 1 0 5\n/dev/sda2 partition 1 0 1\n`), /sda2/);
});

test('what memory is kept apart with is said, and what of it is missing', (t) => {
  const text = (cpuinfo: string) => protectionText(protectionOf(cpuinfo, new Map()));
  t.regex(text(cpu('nx', 'smep')), /^no-execute pages, smep; not here: smap, protection keys, /);
  // The processor can, and the kernel does not.
  t.regex(text(cpu('nx', 'pku')), /not here: .*protection keys/);
  const all = cpu('nx', 'smep', 'smap', 'pku', 'ospke', 'user_shstk', 'ibt');
  t.notRegex(text(all), /not here/);
  t.regex(
    text('Features\t: fp asimd paca bti\n'),
    /^no-execute pages, branch targets, signed pointers; not here: memory tagging, shadow stacks;/,
  );
  t.regex(text(''), /^the processor does not tell;/);
});

test('flaws are those that the kernel has no whole remedy for', (t) => {
  const folder = join(scratchFolder(t), 'vulnerabilities');
  t.is(readVulnerabilities(folder), undefined);
  mkdirSync(folder);
  const texts = {
    gds: 'Unknown: Dependent on hypervisor status',
    itlb: 'KVM: Mitigation: VMX disabled',
    l1tf: 'Not affected',
    mds: 'Mitigation: Clear CPU buffers; SMT vulnerable',
    ssb: 'Vulnerable',
    v1: 'Mitigation: usercopy/swapgs barriers',
  };
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, name), `${text}\n`);
  const found = protectionOf(cpu('nx'), readVulnerabilities(folder));
  t.deepEqual(found.flaws, ['gds', 'mds', 'ssb']);
  t.regex(protectionText(found), /without a whole remedy: gds, mds, ssb$/);
  t.regex(protectionText(protectionOf(cpu(), new Map())), /no flaw of the processor/);
  t.regex(protectionText(protectionOf(cpu(), undefined)), /the kernel tells of no flaws/);
});

test('whether a program may read the memory of another one of its user is said', (t) => {
  t.regex(sameUserOf(''), /may read the memory of every other one of its user .*no such setting/);
  t.regex(sameUserOf('0\n'), /may read the memory of every other one of its user .*is 0 here/);
  t.regex(sameUserOf('1\n'), /only if it has started that one/);
  t.regex(sameUserOf('2\n'), /only if it is of root/);
  t.regex(sameUserOf('3\n'), /^no program may read/);
  // A user has all rights in a user namespace of his own.
  for (const scope of ['', '0\n', '1\n', '2\n'])
    t.regex(sameUserOf(scope, 'apart'), /^other programs of its user may read its memory/);
  t.regex(sameUserOf('3\n', 'apart'), /^no program may read/);
});

test('a processor that lets every page be executed is a warning', (t) => {
  const check = (...flags: string[]) =>
    protectionCheck({ ...memoryProtection(), processor: protectionOf(cpu(...flags), new Map()) });
  t.like(check('nx'), { name: 'memory protection', state: 'ok' });
  t.like(check('smep'), { name: 'memory protection', state: 'warning' });
});

test('this machine can be looked at', (t) => {
  const { hardware, processor } = memoryProtection();
  t.regex(hardware, /^(none|sgx|sev|tdx|trustzone)$/);
  t.true([...processor.found, ...processor.missing].includes('no-execute pages'));
});
