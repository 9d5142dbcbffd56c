import test from 'ava';
import {
  hardwareOf,
  memoryEncryptionOf,
  memoryProtection,
  swapOf,
} from '../../../daemon/kernel/assurances.ts';

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

test('this machine can be looked at', (t) => {
  t.regex(memoryProtection().hardware, /^(none|sgx|sev|tdx|trustzone)$/);
});
