import test from 'ava';
import { kernelFailure } from '../../../scripts/machine/guest-console.ts';

test('a quiet console tells of no failure', (t) => {
  t.is(kernelFailure(''), undefined);
  t.is(kernelFailure('[    1.2] EXT4-fs (vda): recovery complete\r\n'), undefined);
});

test('every way in which a kernel breaks is seen, with the lines that follow', (t) => {
  const ways = [
    'BUG: unable to handle page fault for address: ffffc90000000000',
    'Oops: 0002 [#1] PREEMPT SMP NOPTI',
    'general protection fault, probably for non-canonical address',
    'kernel BUG at mm/slub.c:435!',
    'traps: PANIC: double fault, error_code: 0x0',
    'Kernel panic - not syncing: Attempted to kill init!',
  ];
  for (const way of ways) {
    const found = kernelFailure(`[    1.0] fine\r\n[    2.0] ${way}\r\n[    2.1] RIP: here\r\n`);
    t.is(found, `[    2.0] ${way}\n[    2.1] RIP: here\n`);
  }
});
